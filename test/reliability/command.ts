import { startPostgres } from '../../examples/services/postgres'
import { type Redis, redisInstalled, startRedis } from '../../examples/services/redis'
import { startS3 } from '../../examples/services/s3'
import type { Servers } from './slot'

/** Values of `--name value` among a program's arguments. */
export function optionOf(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}

/** Lets a program work with servers of its own, or those that the environment names, and stops what it started. */
export async function withServers(work: (servers: Servers & { readonly names: string }) => Promise<void>): Promise<void> {
  const given = process.env['DATABASE_URL']
  const [postgres, s3, redis] = await Promise.all([given ? undefined : startPostgres(), startS3(), redisHere()])
  try {
    const { endpoint, accessKeyId, secretAccessKey } = s3
    const names = `${given ? 'PostgreSQL at DATABASE_URL' : 'an embedded PostgreSQL'} and ${s3.name}`
    const servers = { postgres: given ?? (postgres?.url('postgres') as string), redis: redis?.url, s3: { endpoint, accessKeyId, secretAccessKey } }
    await work({ ...servers, names })
  } finally {
    await Promise.all([postgres?.stop(), s3.stop(), redis?.stop()])
  }
}

/** The one at `REDIS_URL`, else one of our own, where it is installed. */
async function redisHere(): Promise<Redis | undefined> {
  const url = process.env['REDIS_URL']
  if (url) return { url, stop: async () => undefined }
  return redisInstalled() ? startRedis() : undefined
}

/** Rows of a Markdown table, the first one being its head. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const [head = [], ...rest] = rows
  return [head, head.map(() => '---'), ...rest].map((row) => `| ${row.join(' | ')} |`).join('\n')
}
