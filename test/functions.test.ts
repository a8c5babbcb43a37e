import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { end, path, start } from '../examples/services/procfile'
import { freePort } from '../examples/services/throw-away'
import { objectsCreated } from '../src/http/object-created'
import { bucketEvents } from './support/bucket-events'
import { folder, newBucket } from './support/world'

const run = promisify(execFile)

/** For processes to start and end. Milliseconds. */
const patience = { timeout: 60_000, interval: 50 }
const timeout = 90_000

/** A function that writes down when it begins and how it ends, which its event or a file says. */
const noting = `
  const { appendFileSync, existsSync } = require('node:fs')
  const { join } = require('node:path')
  const note = (line) => appendFileSync(join(__dirname, 'notes'), line + '\\n')
  exports.handler = async (event) => {
    note('begin ' + JSON.stringify(event))
    while (!existsSync(join(__dirname, 'go'))) await new Promise((later) => setTimeout(later, 20))
    const fails = event.fails || event.exits || existsSync(join(__dirname, 'fail'))
    note(fails ? 'failed' : 'done')
    if (event.exits) process.exit(3)
    if (fails) throw new Error('as it was told')
  }`

/** The functions of the example, with one that notes. It waits until it may go. */
async function setUp() {
  const home = await folder()
  const handler = join(home, 'handler.cjs')
  await writeFile(handler, noting)
  await writeFile(join(home, 'notes'), '')
  const port = await freePort()
  const said: string[] = []
  const example = join(import.meta.dirname, '../examples/direct-upload')
  const env = { PATH: path, FUNCTIONS_PORT: String(port), FUNCTIONS_AT_ONCE: '2' }
  const child = start(`node --import tsx functions.ts ${handler}`, example, env, (line) => said.push(line))
  onTestFinished(async () => void (await end(child, 'SIGKILL')))
  await expect.poll(() => said.join('\n'), patience).toContain('functions on port')
  const url = `http://127.0.0.1:${port}/`
  return {
    url,
    said,
    send: async (event: unknown) => (await fetch(url, { method: 'POST', body: JSON.stringify(event) })).status,
    notes: async () => (await readFile(join(home, 'notes'), 'utf8')).split('\n').filter(Boolean),
    go: () => writeFile(join(home, 'go'), ''),
    fail: () => writeFile(join(home, 'fail'), ''),
    succeed: () => rm(join(home, 'fail')),
    end: (signal: NodeJS.Signals) => end(child, signal),
  }
}

describe('functions, as the example of direct uploads runs them', () => {
  it(
    'each event has a process of its own, two at a time, and the answer tells how it ended',
    async () => {
      const { send, notes, go, said, url } = await setUp()
      const answers = [{ a: 1 }, { fails: true }, { exits: true }, { b: 'ü' }].map(send)
      await expect.poll(async () => (await notes()).length, patience).toBe(2)
      // as long as a third would take to begin
      await run(process.execPath, ['--import', 'tsx', '-e', ''])
      await go()
      expect(await Promise.all(answers)).toEqual([200, 500, 500, 200])
      const events = (await notes()).filter((line) => line.startsWith('begin'))
      expect(events.sort()).toEqual(['begin {"a":1}', 'begin {"b":"ü"}', 'begin {"exits":true}', 'begin {"fails":true}'])
      let running = 0
      const counts = (await notes()).map((line) => (running += line.startsWith('begin') ? 1 : -1))
      expect(Math.max(...counts)).toBe(2)
      expect(said.join('\n')).toContain('Error: as it was told')
      expect((await fetch(url)).status).toBe(405)
    },
    timeout,
  )

  it(
    'SIGTERM lets what runs come to its end',
    async () => {
      const { send, notes, go, end } = await setUp()
      const answer = send({ last: true })
      await expect.poll(notes, patience).toHaveLength(1)
      const ended = end('SIGTERM')
      await go()
      expect([await answer, await ended]).toEqual([200, 0])
      expect(await notes()).toContain('done')
    },
    timeout,
  )

  it.skipIf(!inject('s3').sendsEvents)(
    'the gateway starts one for an object, and again if that one failed',
    async () => {
      const { url, notes, go, fail, succeed } = await setUp()
      await Promise.all([go(), fail()])
      const { client, bucket } = await newBucket()
      await bucketEvents({ bucket, url, persistent: true })
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'ü + %41', Body: 'content' }))
      await expect.poll(async () => (await notes()).length, patience).toBeGreaterThan(1)
      await succeed()
      await expect.poll(notes, patience).toContain('done')
      for (const line of (await notes()).filter((line) => line.startsWith('begin')))
        expect(objectsCreated(line.replace('begin ', ''))).toEqual([{ bucket, key: 'ü + %41' }])
    },
    timeout,
  )
})
