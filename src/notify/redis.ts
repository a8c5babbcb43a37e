import { messageFrom, type Notifier, notHeard, textOf } from './notifier'
import { withLimit } from './with-limit'

/** What is used of a client of ioredis. */
export interface RedisClient {
  publish(channel: string, message: string): Promise<unknown>
  /** Listening takes a connection of its own. */
  duplicate(): RedisListener
}

export interface RedisListener {
  readonly status: string
  on(event: 'ready', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'message', listener: (channel: string, message: string) => void): unknown
  subscribe(channel: string): Promise<unknown>
  disconnect(): void
}

export interface RedisNotifierOptions {
  /** Yours, of the package ioredis, with its reconnecting. */
  client: RedisClient
  /** Name of the channel; default `'typeorm-attachments'`. */
  channel?: string
}

/** PUBLISH and SUBSCRIBE of Redis, after each commit. */
export function redisNotifier({ client, channel = 'typeorm-attachments' }: RedisNotifierOptions): Notifier {
  return {
    notify: withLimit('Redis', (message) => client.publish(channel, textOf(message))),

    listen(hear, began) {
      const listener = client.duplicate()
      // it connects again by itself, and says so
      listener.on('error', () => undefined)
      listener.on('message', (_channel, text) => {
        const message = messageFrom(text)
        if (message) hear(message)
      })
      const subscribe = () => void listener.subscribe(channel).then(began, notHeard)
      listener.on('ready', subscribe)
      if (listener.status === 'ready') subscribe()
      return async () => listener.disconnect()
    },
  }
}
