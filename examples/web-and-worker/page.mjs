import { watch } from '/client.mjs'

const status = document.getElementById('status')
/** What is yet to come, by its token. */
const items = new Map([...document.querySelectorAll('[data-token]')].map((item) => [item.dataset.token, item]))
const words = { processed: 'ready', failed: 'could not be processed', removed: 'was replaced or removed' }

watch([...items.keys()], { url: '/watch', onState: show }).catch(() => say('Please load the page again.'))

/** @param file what the server wants to be seen of a picture: the HTML of each view */
function show({ token, state, progress, file }) {
  const item = items.get(token)
  const bar = item.querySelector('progress')
  if (progress) bar.value = progress.done / progress.of
  if (state === 'processing' || !bar) return
  item.dataset.state = state
  item.querySelector('.picture').innerHTML = file?.[item.dataset.view] ?? ''
  bar.remove()
  say(`${bar.ariaLabel}: ${words[state]}`)
}

/** Is read out by a screen reader. */
function say(text) {
  status.textContent = text
}
