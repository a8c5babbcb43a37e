import { messageFrom, type Notifier } from './notifier'

/** What is used of a client of MQTT.js. */
export interface MqttClient {
  readonly connected: boolean
  publishAsync(topic: string, message: string, options: { qos: 1 }): Promise<unknown>
  subscribeAsync(topic: string, options: { qos: 1 }): Promise<unknown>
  unsubscribeAsync(topic: string): Promise<unknown>
  on(event: 'connect', listener: () => void): unknown
  on(event: 'message', listener: (topic: string, message: Buffer) => void): unknown
  off(event: 'connect', listener: () => void): unknown
  off(event: 'message', listener: (topic: string, message: Buffer) => void): unknown
}

export interface MqttNotifierOptions {
  /** Yours, of the package mqtt, with its reconnecting. */
  client: MqttClient
  /** The first levels of the topics; default `'typeorm-attachments'`. */
  prefix?: string
}

/** Messages that wait for a broker which is away. What is older than that is found by the next look at the row. */
const mostWaiting = 1_000

/** Topics of an MQTT broker, after each commit: one for each file, named so that nobody guesses it, for browsers to subscribe to. */
export function mqttNotifier({ client, prefix = 'typeorm-attachments' }: MqttNotifierOptions): Notifier {
  const topicOf = (channel: string) => `${prefix}/${channel}`
  const all = topicOf('+')
  let waiting = 0
  return {
    async notify(message) {
      if (waiting >= mostWaiting) throw new Error(`${waiting} messages wait for the MQTT broker already`)
      waiting += 1
      try {
        await client.publishAsync(topicOf(message.channel ?? '-'), JSON.stringify(message), { qos: 1 })
      } finally {
        waiting -= 1
      }
    },

    topicOf,

    listen(hear, began) {
      const take = (topic: string, text: Buffer) => {
        const message = topic.startsWith(`${prefix}/`) ? messageFrom(text.toString()) : undefined
        if (message) hear(message)
      }
      const subscribe = () => void client.subscribeAsync(all, { qos: 1 }).then(began, () => undefined)
      client.on('message', take)
      client.on('connect', subscribe)
      if (client.connected) subscribe()
      return async () => {
        client.off('message', take)
        client.off('connect', subscribe)
        if (client.connected) await client.unsubscribeAsync(all).catch(() => undefined)
      }
    },
  }
}
