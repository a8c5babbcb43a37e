import { PostgreSqlContainer } from '@testcontainers/postgresql'
import { getContainerRuntimeClient } from 'testcontainers'
import type { TestProject } from 'vitest/node'
import { startPostgres } from '../../examples/services/postgres'
import { startS3 } from '../../examples/services/s3'

declare module 'vitest' {
  interface ProvidedContext {
    /** The address of the PostgreSQL server's own database. */
    postgres: string
    s3: { endpoint: string; accessKeyId: string; secretAccessKey: string; faithful: boolean }
  }
}

/** Starts what the tests talk to, once for all of them. Every server is a real one. */
export default async function services(project: TestProject): Promise<() => Promise<void>> {
  const [postgres, s3] = await Promise.all([choosePostgres(), startS3()])
  const say = (line: string) => process.stdout.write(`${line}\n`)
  say(`tests use ${postgres.name} and ${s3.name}`)
  if (!s3.faithful) {
    const skipped = 'tests that need a faithful S3 server are SKIPPED: install radosgw, ceph-mon, ceph-osd and ceph-common, or set S3_ENDPOINT'
    if (process.env['REQUIRE_SERVICES'] === '1') throw new Error(skipped)
    say(`!! ${skipped}`)
  }
  project.provide('postgres', postgres.url)
  const { endpoint, accessKeyId, secretAccessKey, faithful } = s3
  project.provide('s3', { endpoint, accessKeyId, secretAccessKey, faithful })
  return async () => {
    await Promise.all([postgres.stop(), s3.stop()])
  }
}

/** The server at `DATABASE_URL`, else one in a container where an engine answers, else an embedded one. */
async function choosePostgres(): Promise<{ name: string; url: string; stop(): Promise<unknown> }> {
  const given = process.env['DATABASE_URL']
  if (given) return { name: 'PostgreSQL at DATABASE_URL', url: given, stop: async () => undefined }
  if (await containersWork()) {
    const container = await new PostgreSqlContainer('postgres:18-alpine').start()
    return { name: 'PostgreSQL in a container', url: container.getConnectionUri(), stop: () => container.stop() }
  }
  const embedded = await startPostgres()
  return { name: 'an embedded PostgreSQL', url: embedded.url('postgres'), stop: embedded.stop }
}

/** A docker program proves nothing: an engine has to answer, within two seconds. */
async function containersWork(): Promise<boolean> {
  const answers = getContainerRuntimeClient().then(
    () => true,
    () => false,
  )
  const late = new Promise<boolean>((resolve) => setTimeout(resolve, 2_000, false).unref())
  return Promise.race([answers, late])
}
