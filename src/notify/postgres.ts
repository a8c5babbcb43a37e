import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'pg'
import { UsageError } from '../errors'
import { type Message, messageFrom, type Notifier, notHeard, textOf } from './notifier'

export interface PostgresNotifierOptions {
  /**
   * For listening, one connection in each process that does: a URL, or what `new pg.Client()` takes. To the primary itself, since a
   * pooler in transaction mode (PgBouncer) passes no notifications on.
   */
  connection: string | Readonly<Record<string, unknown>>
  /** Name of the channel; default `'typeorm_attachments'`. */
  channel?: string
}

/** PostgreSQL takes no payload of 8,000 bytes. */
const largestPayload = 7_999
/** And no name of more. Bytes. */
const longestName = 63
/** Between two signs of life of the connection that listens, and how long it may be silent. Milliseconds. */
const interval = 15_000
/** Until the next try to connect. Milliseconds. */
const pause = 500
/** For how long a server that has fallen silent may keep `close()`. Milliseconds. */
const patience = 1_000

/**
 * NOTIFY and LISTEN of the database of the rows. What happens to a row is told by the statement or the transaction that changes it: by its
 * commit, and only then.
 */
export function postgresNotifier({ connection, channel = 'typeorm_attachments' }: PostgresNotifierOptions): Notifier {
  checkChannel(channel)
  return {
    async notify(message, statement) {
      await statement('SELECT pg_notify($1, $2)', [channel, payloadOf(message)])
    },

    along: (message) => ({ sql: (parameter) => `pg_notify('${channel.replaceAll("'", "''")}', ${parameter})`, value: payloadOf(message) }),

    listen(hear, began) {
      const ending = new AbortController()
      const listening = keepListening(ending.signal)
      return async () => {
        ending.abort()
        await listening
      }

      async function keepListening(ended: AbortSignal): Promise<void> {
        let heard = true
        const beginning = () => {
          heard = true
          began()
        }
        while (!ended.aborted) {
          await listenOnce(ended, beginning).catch((error) => {
            if (heard && !ended.aborted) notHeard(error)
            heard = false
          })
          await sleep(pause, undefined, { signal: ended }).catch(() => undefined)
        }
      }

      /** Rejects when the connection is lost, or not wanted any more. */
      async function listenOnce(ended: AbortSignal, beginning: () => void): Promise<void> {
        const client = await newClient(connection)
        if (ended.aborted) return
        const lost = new AbortController()
        const cut = () => lost.abort(new Error('the connection was lost'))
        client.on('error', (error) => lost.abort(error))
        client.on('end', cut)
        ended.addEventListener('abort', cut)
        client.on('notification', ({ payload = '' }) => {
          const message = messageFrom(payload)
          if (message) hear(message)
        })
        try {
          const cutOff = new Promise((_, reject) => lost.signal.addEventListener('abort', () => reject(lost.signal.reason)))
          await Promise.race([client.connect(), cutOff])
          await client.query(`LISTEN ${client.escapeIdentifier(channel)}`)
          beginning()
          // a connection that nobody closed may be dead all the same
          while (!lost.signal.aborted) {
            await sleep(interval, undefined, { signal: lost.signal })
            await client.query('SELECT 1')
          }
        } catch (error) {
          throw lost.signal.reason ?? error
        } finally {
          ended.removeEventListener('abort', cut)
          await end(client)
        }
      }
    },

    check(kind) {
      if (kind === 'postgres') return
      throw new UsageError('wrong_database', `postgresNotifier() tells by the database of the rows, which is ${kind}: take another notifier`)
    },
  }
}

/** One that is not a channel's would fail each statement that tells. */
function checkChannel(channel: string): void {
  const length = Buffer.byteLength(channel)
  if (length >= 1 && length <= longestName) return
  throw new UsageError('bad_channel', `the name of a channel of PostgreSQL has 1 to ${longestName} bytes, and postgresNotifier() was given ${length}`)
}

/** Says goodbye, and does not wait for a server that does not answer. */
async function end(client: Client): Promise<void> {
  const waited = new AbortController()
  const left = client.end().catch(() => undefined)
  await Promise.race([left, sleep(patience, undefined, { signal: waited.signal })])
  waited.abort()
  client.connection.stream.destroy()
}

async function newClient(connection: PostgresNotifierOptions['connection']): Promise<Client> {
  const { Client } = await import('pg')
  const config = typeof connection === 'string' ? { connectionString: connection } : connection
  return new Client({
    keepAlive: true,
    query_timeout: interval,
    connectionTimeoutMillis: interval,
    application_name: 'typeorm-attachments',
    ...config,
  })
}

/** An id that is too long is left out: the version names the file. */
function payloadOf(message: Message): string {
  const payload = textOf(message)
  return Buffer.byteLength(payload) > largestPayload ? textOf({ ...message, id: {} }) : payload
}
