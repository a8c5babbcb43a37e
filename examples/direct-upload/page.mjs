import { send, upload } from '/client.mjs'

const [status, uploads, list] = ['status', 'uploads', 'files'].map((id) => document.getElementById(id))

/** How a file gets from here to its row: by its token, or by the row that waits for it. */
const ways = {
  async photos(file, told) {
    const { token } = await upload(file, { url: '/uploads', entity: 'Photo', property: 'picture', ...told })
    await post('/photos', { token })
  },
  async documents(file, told) {
    const { id, form } = await post('/documents', { fileName: file.name, contentType: file.type || 'text/plain', size: file.size })
    await send(file, form, told).catch(async (error) => {
      // nothing is to wait for it
      await fetch(`/documents/${id}`, { method: 'DELETE' }).catch(() => undefined)
      throw error
    })
  },
}

for (const input of document.querySelectorAll('input')) {
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
  const item = element('li', {}, element('label', { htmlFor: bar.id, textContent: file.name }), bar, cancel)
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
  await show()
}

/** Asks the app. What it refuses it says in words. */
async function post(path, body) {
  const answer = await fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  const told = await answer.json().catch(() => ({}))
  if (!answer.ok) throw new Error(told.error?.message ?? `The server answered ${answer.status}`)
  return told
}

const words = { awaited: 'on its way', processing: 'being processed', ready: 'ready', failed: 'failed' }
/** What is shown, by its id. */
const shown = new Map()
/** Of several looks only the last one counts. */
let looks = 0

/** Shows what is there, and looks again as long as something is on its way. */
async function show() {
  const look = ++looks
  const files = await fetch('/files').then(
    (answer) => (answer.ok ? answer.json() : undefined),
    () => undefined,
  )
  if (look !== looks) return
  if (files) showAll(files)
  if (!files || files.some(({ state }) => state === 'awaited' || state === 'processing')) {
    setTimeout(() => look === looks && show(), 1500)
  }
}

function showAll(files) {
  for (const [id, { item }] of shown) {
    if (files.some((file) => file.id === id)) continue
    item.remove()
    shown.delete(id)
  }
  // the latest comes first
  for (const file of files.toReversed()) {
    const before = shown.get(file.id)
    if (before && JSON.stringify(before.file) === JSON.stringify(file)) continue
    if (before && before.file.state !== file.state) say(`${file.name}: ${words[file.state]}`)
    const item = itemOf(file)
    if (before) before.item.replaceWith(item)
    shown.set(file.id, { file, item })
    if (!before) list.prepend(item)
  }
}

function itemOf({ id, name, state, picture, larger, problem }) {
  const image = picture
    ? element('a', { href: larger }, element('img', { src: picture, alt: name, loading: 'lazy' }))
    : element('span', { className: 'blank', textContent: words[state] })
  const item = element('li', { id }, image, element('span', { className: 'name', textContent: name }))
  item.dataset.state = state
  if (problem) item.append(element('span', { className: 'problem', textContent: problem }))
  return item
}

/** Is read out by a screen reader. */
function say(text) {
  status.textContent = text
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

show()
