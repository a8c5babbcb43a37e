import { send, upload, watch } from '/client.mjs'
import { element } from '/element.mjs'
import { Tile } from '/tile.mjs'

const [status, uploads, list, news, noBroker] = ['status', 'uploads', 'files', 'news', 'no-broker'].map((id) => document.getElementById(id))

/** How a file gets from here to its row: by its token, or by the row that waits for it. */
const ways = {
  async photos(file, told) {
    const { token } = await upload(file, { url: '/uploads', entity: 'Photo', property: 'picture', ...told })
    const photo = await ask('/photos', { token })
    add(photo.watchToken)
  },
  async documents(file, told) {
    const { id, form, watchToken } = await ask('/documents', { fileName: file.name, contentType: file.type || 'text/plain', size: file.size })
    add(watchToken)
    await send(file, form, told).catch(async (error) => {
      // nothing is to wait for it
      await fetch(`/documents/${id}`, { method: 'DELETE' }).catch(() => undefined)
      throw error
    })
  },
}

for (const input of document.querySelectorAll('input[type=file]')) {
  input.addEventListener('change', async () => {
    const files = [...input.files]
    // so that the same can be chosen again
    input.value = ''
    await Promise.all(files.map((file) => bring(file, input)))
  })
}

async function bring(file, input) {
  const aborter = new AbortController()
  const bar = element('progress', { id: `upload-${crypto.randomUUID?.() ?? Math.random()}`, max: 1, value: 0 })
  const cancel = element('button', { type: 'button', textContent: 'Cancel', ariaLabel: `Cancel ${file.name}` })
  const item = element('li', {}, element('label', { htmlFor: bar.id, className: 'name', textContent: file.name }), bar, cancel)
  cancel.addEventListener('click', () => aborter.abort(new Error('cancelled')))
  uploads.append(item)
  const onProgress = ({ loaded, total }) => {
    bar.value = loaded / total
  }
  const problem = await ways[input.id](file, { onProgress, signal: aborter.signal }).then(
    () => undefined,
    ({ message }) => message,
  )
  if (item.contains(document.activeElement)) input.focus()
  if (problem === undefined) item.remove()
  else {
    bar.remove()
    cancel.remove()
    item.querySelector('label').replaceWith(element('span', { className: 'name', textContent: file.name }))
    item.append(element('p', { className: 'problem', textContent: problem }))
  }
  say(`${file.name}: ${problem ?? 'uploaded'}`)
}

/** What is shown, by the tokens that let this page watch it. */
const tiles = new Map()
/** Where pages may listen to the MQTT broker; null where there is none. */
let broker = null
let following = new AbortController()

/** Asks once what is there. From then on the page is told. */
async function start() {
  const { watchTokens, ...others } = await ask('/files')
  broker = others.broker
  news.elements.mqtt.disabled = broker === null
  if (broker === null) noBroker.hidden = false
  // as long as it is there it is read out with the switch
  else noBroker.remove()
  for (const { item } of tiles.values()) item.remove()
  tiles.clear()
  for (const token of watchTokens) {
    tiles.set(token, new Tile())
    list.append(tiles.get(token).item)
  }
  await follow()
}

/** The latest comes first. */
function add(token) {
  tiles.set(token, new Tile())
  list.prepend(tiles.get(token).item)
  follow()
}

/** Shows what happens to all that is not finished, until it is: by the way that was chosen, up to a hundred files at a time. */
async function follow() {
  following.abort()
  following = new AbortController()
  const { signal } = following
  const tokens = [...tiles].flatMap(([token, { isFinished }]) => (isFinished ? [] : token)).slice(0, 100)
  if (tokens.length === 0) return
  try {
    const options = { url: '/watch', onState, signal }
    if (news.elements.mqtt.checked) {
      const { watchByMqtt } = await import('/watch-by-mqtt.mjs')
      await watchByMqtt(tokens, { broker, ...options })
    } else await watch(tokens, options)
    await follow()
  } catch (error) {
    if (signal.aborted) return
    if (error.code === 'token_expired') await start()
    else say(`Nothing more is told: ${error.message} Please load the page again.`)
  }
}

function onState(state) {
  const tile = tiles.get(state.token)
  const changed = tile?.show(state)
  if (changed) say(changed)
}

news.addEventListener('change', follow)

/** Asks the app: posts the body, if there is one. What it refuses it says in words. */
async function ask(path, body) {
  const posted = body && { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const answer = await fetch(path, posted)
  const told = await answer.json().catch(() => ({}))
  if (!answer.ok) throw new Error(told.error?.message ?? `The server answered ${answer.status}`)
  return told
}

/** Is read out by a screen reader. */
function say(text) {
  status.textContent = text
}

start().catch(({ message }) => say(message))
