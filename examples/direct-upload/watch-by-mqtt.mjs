import mqtt from '/mqtt.mjs'

/**
 * As `watch()` of the client, by an MQTT broker instead of a stream: what comes from there says that something has happened, and then the
 * page asks how the files are.
 */
export async function watchByMqtt(tokens, { broker, url, onState, signal }) {
  const address = `${url}?${new URLSearchParams(tokens.map((token) => ['token', token]))}`
  const client = mqtt.connect(broker, { resubscribe: false })
  /** How each file is, by its topic. */
  const known = new Map()
  let subscribed = new Set()
  let wake = () => undefined

  client.on('connect', () => {
    // also after a gap: then all topics are to be subscribed anew
    subscribed = new Set()
    wake()
  })
  client.on('message', (topic, text) => {
    const { state, progress } = JSON.parse(text)
    if (state === 'progress') onState({ ...known.get(topic), progress })
    else wake()
  })
  signal.addEventListener('abort', () => wake())

  try {
    while (!signal.aborted) {
      // what happens from now on asks for another look
      const happened = new Promise((resolve) => {
        wake = resolve
      })
      const states = await look(address, signal)
      for (const state of states) {
        known.set(state.topic, state)
        onState(state)
      }
      if (states.every(({ state }) => state !== 'awaiting' && state !== 'processing')) return
      const missing = client.connected ? states.map(({ topic }) => topic).filter((topic) => !subscribed.has(topic)) : []
      for (const topic of missing) subscribed.add(topic)
      // what happened before that was told to nobody
      if (missing.length > 0) client.subscribeAsync(missing, { qos: 1 }).then(wake, () => undefined)
      await happened
    }
    signal.throwIfAborted()
  } finally {
    client.end(true)
  }
}

/** How the files are now. */
async function look(address, signal) {
  for (;;) {
    const answer = await fetch(address, { signal }).catch(() => undefined)
    signal.throwIfAborted()
    const told = await answer?.json().catch(() => undefined)
    if (told?.states) return told.states
    if (answer && answer.status < 500) throw Object.assign(new Error(told?.error?.message), told?.error)
    // the server is away
    await new Promise((resolve) => setTimeout(resolve, 2000))
  }
}
