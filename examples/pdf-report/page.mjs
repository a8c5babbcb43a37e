import { watch } from '/client.mjs'

const [status, bar, link] = ['status', 'bar', 'link'].map((id) => document.getElementById(id))

// rendered by a job of the app: the server tells once, when there is a file to watch, or why there is none
const rendering = new EventSource(`${location.pathname}/rendered`)
rendering.onmessage = ({ data }) => {
  rendering.close()
  const { token, problem } = JSON.parse(data)
  if (problem) fail(problem)
  else watch([token], { url: '/watch', onState: show }).catch(() => end('Please load the page again.'))
}

/** @param file what the server wants to be seen of it */
function show({ state, file }) {
  if (state === 'processing') return say('Being stored …')
  if (state !== 'processed') return fail(file?.problem ?? 'it is gone')
  link.href = file.url
  link.hidden = false
  end('Your report is ready.')
}

function fail(problem) {
  status.className = 'problem'
  end(`Your report could not be made: ${problem}.`)
}

function end(words) {
  bar.remove()
  say(words)
}

/** Is read out by a screen reader. */
function say(words) {
  status.textContent = words
}
