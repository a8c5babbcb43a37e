import { messageFrom, type Notifier, notHeard, textOf } from './notifier'
import { withLimit } from './with-limit'

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

/** Topics of an MQTT broker, after each commit: one for each file, named so that nobody guesses it, for browsers to subscribe to. */
export function mqttNotifier({ client, prefix = 'typeorm-attachments' }: MqttNotifierOptions): Notifier {
  const topicOf = (channel: string) => `${prefix}/${channel}`
  const all = topicOf('+')
  return {
    notify: withLimit('the MQTT broker', (message) => client.publishAsync(topicOf(message.channel ?? '-'), textOf(message), { qos: 1 })),

    topicOf,

    listen(hear, began) {
      const take = (topic: string, text: Buffer) => {
        const message = topic.startsWith(`${prefix}/`) ? messageFrom(text.toString()) : undefined
        if (message) hear(message)
      }
      const subscribe = () => void client.subscribeAsync(all, { qos: 1 }).then(began, notHeard)
      client.on('message', take)
      client.on('connect', subscribe)
      if (client.connected) subscribe()
      return async () => {
        client.off('message', take)
        client.off('connect', subscribe)
        // not waited for: a broker that has fallen silent would keep close()
        if (client.connected) client.unsubscribeAsync(all).catch(() => undefined)
      }
    },
  }
}
