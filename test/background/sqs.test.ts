import 'reflect-metadata'
import { randomBytes } from 'node:crypto'
import { type MessageAttributeValue, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Attached, Attachment, type DeleteJob, type Job, NotHere, type Perform, type ProcessJob, TryLater } from '../../src'
import { sqsBackground } from '../../src/background/sqs'
import { report, sampleJob, sendingOf } from '../../src/testing/background/sample'
import { inTime, until } from '../../src/testing/expect'
import { door, scribe } from '../support/doubles'
import { type QueueServer, startQueueServer } from '../support/queue-server'
import { world } from '../support/world'

const second = 1_000
const hour = 3600 * second
let server: QueueServer

beforeAll(async () => {
  server = await startQueueServer()
})
afterAll(() => server?.stop())
beforeEach(() => {
  server.rule = () => undefined
})

/** A new queue, and an adapter on it. */
function newQueue({ redrive }: { redrive?: number } = {}) {
  const name = `jobs-${randomBytes(6).toString('hex')}`
  const dead = `${name}-dead`
  const attributes: Record<string, string> = {}
  if (redrive !== undefined) {
    const { queueArn } = server.queues.createQueue(dead)
    attributes['RedrivePolicy'] = JSON.stringify({ deadLetterTargetArn: queueArn, maxReceiveCount: redrive })
  }
  const { queueUrl } = server.queues.createQueue(name, { attributes })
  const client = new SQSClient({ ...server.config, maxAttempts: 1 })
  const adapter = sqsBackground({ client, queueUrl })
  onTestFinished(async () => {
    await adapter.close?.()
    client.destroy()
  })
  const messagesOf = (queue: string) => {
    const { ready, delayed, inflight } = server.queues.inspectQueue(queue)?.messages ?? { ready: [], delayed: [], inflight: [] }
    return [...ready, ...delayed, ...inflight.map(({ message }) => message)]
  }
  return {
    name,
    queueUrl,
    adapter,
    messages: () => messagesOf(name),
    dead: () => messagesOf(dead),
    enqueue: (job: Job, said: object = {}) => adapter.enqueue(job, sendingOf(job, said)),
    async work(perform: Perform, { concurrency = 2, attempts = 5, queues = ['default'] } = {}) {
      const worker = await adapter.work?.(perform, { concurrency, queues, attempts })
      if (!worker) throw new Error('no worker')
      onTestFinished(() => worker.stop())
      return worker
    },
    asked: (action: string) => server.asked.filter((one) => one.action === action && one.body['QueueUrl'] === queueUrl).map(({ body }) => body),
    /** The names of what was asked that changes something. */
    changes: () => {
      const here = server.asked.filter(({ body }) => body['QueueUrl'] === queueUrl)
      return here.map(({ action }) => action).filter((action) => !['ReceiveMessage', 'GetQueueAttributes'].includes(action))
    },
    put: (MessageBody: string, MessageAttributes?: Record<string, MessageAttributeValue>) =>
      client.send(new SendMessageCommand({ QueueUrl: queueUrl, MessageBody, MessageAttributes })),
  }
}

/** Performs jobs, and remembers them. */
function performer(behave: (job: Job, attempt: number) => unknown = () => undefined) {
  const begun: Array<{ job: Job; attempt: number }> = []
  const perform: Perform = async (job, attempt) => {
    begun.push({ job, attempt })
    await behave(job, attempt)
    return report
  }
  return { begun, perform, attempts: () => begun.map(({ attempt }) => attempt) }
}

function warnings(): string[] {
  const said: string[] = []
  const hear = (warning: Error) => void (warning.name === 'AttachmentWarning' && said.push(warning.message))
  process.on('warning', hear)
  onTestFinished(() => void process.off('warning', hear))
  return said
}

const soon = { timeout: 20 * second, interval: 10 }

describe('a message', () => {
  it('is the job, and nothing else', async () => {
    const { enqueue, messages } = newQueue()
    const job = sampleJob()
    await enqueue(job)
    expect(messages().map(({ body, messageAttributes }) => [JSON.parse(body), messageAttributes])).toEqual([[job, {}]])
  })

  it('has the form of SQS, however strange the words in it are', async () => {
    const { enqueue, work } = newQueue()
    const { begun, perform } = performer()
    const job = { ...sampleJob(), keys: ['🏖️ \u0000 \u007f \ufffe \uffff \ud800'] }
    await enqueue(job)
    await work(perform)
    await expect.poll(() => begun.map(({ job }) => job), soon).toEqual([job])
  })

  it('holds a delete job that is larger than SQS takes', async () => {
    const { enqueue, messages, work } = newQueue()
    const { begun, perform } = performer()
    const job = largeDelete()
    expect(JSON.stringify(job).length).toBeGreaterThan(256 * 1024)
    await enqueue(job)
    const body = messages()[0]?.body ?? ''
    expect(body.length).toBeLessThan(256 * 1024)
    expect(JSON.parse(body)).toMatchObject({ kind: 'delete', entity: 'User', attachment: 'avatar' })
    await work(perform)
    await expect.poll(() => begun.map(({ job }) => job), soon).toEqual([job])
  })
})

describe('queues', () => {
  it('have names, and stand beside the one that is called default', async () => {
    const { enqueue, messages, queueUrl, name } = newQueue()
    const slow = server.queues.createQueue(`slow-${name}`)
    const job = sampleJob()
    await enqueue(job, { queue: slow.queueName })
    expect(messages()).toEqual([])
    expect(server.queues.inspectQueue(slow.queueName)?.messages.ready.map(({ body }) => JSON.parse(body))).toEqual([job])
    expect(slow.queueUrl).toBe(queueUrl.replace(name, slow.queueName))
  })

  it('are worked on one by one: whoever takes jobs from one leaves others alone', async () => {
    const { enqueue, work, messages, name } = newQueue()
    const slow = server.queues.createQueue(`slow-${name}`).queueName
    const { begun, perform } = performer()
    const [one, other] = [sampleJob(), sampleJob()]
    await enqueue(one)
    await enqueue(other, { queue: slow })
    await work(perform, { queues: [slow] })
    await expect.poll(() => begun.map(({ job }) => job), soon).toEqual([other])
    expect(messages()).toHaveLength(1)
  })

  it('that are missing are named, with the cure', async () => {
    const { enqueue } = newQueue()
    await expect(enqueue(sampleJob(), { queue: 'nowhere' })).rejects.toMatchObject({
      code: 'queue_missing',
      message: expect.stringMatching(/no queue http.*\/nowhere: create it/),
    })
  })

  it.each([
    ['fifo_queue', 'https://sqs.eu-central-1.amazonaws.com/123456789012/jobs.fifo', /standard queue/],
    ['bad_queue_url', 'jobs', /URL of a queue, such as/],
    ['bad_queue_url', 'arn:aws:sqs:eu-central-1:123456789012:jobs', /URL of a queue, such as/],
  ])('that cannot be right are refused: %s, %s', async (code, queueUrl, cure) => {
    const client = new SQSClient(server.config)
    expect(() => sqsBackground({ client, queueUrl })).toThrow(expect.objectContaining({ code, message: expect.stringMatching(cure) }))
  })
})

describe('a delay', () => {
  it('of up to a quarter of an hour is waited for by SQS', async () => {
    const { enqueue, asked, messages } = newQueue()
    await enqueue(sampleJob(), { delay: 61_500 })
    expect(asked('SendMessage')).toMatchObject([{ DelaySeconds: 62 }])
    expect(messages()[0]?.messageAttributes).toEqual({})
  })

  it('that is longer goes on from message to message, and its job begins in time, as its first attempt', async () => {
    const { enqueue, asked, put, work, messages } = newQueue()
    await enqueue(sampleJob(), { delay: hour })
    expect(asked('SendMessage')).toMatchObject([{ DelaySeconds: 900 }])
    const after = Number(messages()[0]?.messageAttributes['due']?.StringValue) - Date.now()
    expect(after).toBeGreaterThan(hour - 60 * second)
    expect(after).toBeLessThanOrEqual(hour)

    const due = Date.now() + 1_500
    const { begun, perform } = performer(() => expect(Date.now()).toBeGreaterThanOrEqual(due))
    await put(JSON.stringify({ ...sampleJob(), id: { number: 7 } }), { due: { DataType: 'Number', StringValue: String(due) } })
    await work(perform)
    await expect.poll(() => begun, soon).toMatchObject([{ attempt: 1 }])
    expect(Date.now()).toBeGreaterThanOrEqual(due)
    // that of the hour is left
    await expect.poll(() => messages().length, soon).toBe(1)
  })

  it('before another attempt is no longer than SQS allows', async () => {
    const { enqueue, asked, work } = newQueue()
    const { begun, perform } = performer(() => {
      throw new TryLater(24 * hour, new Error('not yet'))
    })
    await enqueue(sampleJob())
    await work(perform)
    await expect.poll(() => asked('ChangeMessageVisibility'), soon).toHaveLength(1)
    const { VisibilityTimeout } = asked('ChangeMessageVisibility')[0] as { VisibilityTimeout: number }
    expect(VisibilityTimeout).toBeGreaterThan(43_000)
    expect(VisibilityTimeout).toBeLessThan(43_200)
    expect(begun).toHaveLength(1)
  })
})

describe('attempts', () => {
  it('do not count where a job could not be begun', async () => {
    const { enqueue, changes, work, messages } = newQueue()
    const { attempts, perform } = performer(() => {
      const time = attempts().length
      if (time === 1) throw new NotHere(10, new Error('unknown here'))
      if (time === 2) throw new TryLater(10, new Error('not yet'))
      if (time === 3) throw new NotHere(10, new Error('unknown here'))
      if (time === 4) throw new TryLater(10, new Error('not yet'))
    })
    await enqueue(sampleJob())
    await work(perform)
    await expect.poll(attempts, soon).toEqual([1, 1, 2, 2, 3])
    await expect.poll(messages, soon).toEqual([])
    // what goes back is sent anew before the old one is deleted, so that it is never in neither place
    const back = ['SendMessage', 'DeleteMessage', 'ChangeMessageVisibility']
    expect(changes()).toEqual(['SendMessage', ...back, ...back, 'DeleteMessage'])
  })

  it('do not multiply a message that cannot be deleted', async () => {
    const said = warnings()
    const { enqueue, asked, work, messages } = newQueue()
    const { begun, perform } = performer(() => {
      throw new NotHere(10, new Error('unknown here'))
    })
    server.rule = ({ action }) => (action === 'DeleteMessage' ? 'AccessDenied' : undefined)
    await enqueue(sampleJob())
    await work(perform)
    await expect.poll(() => begun.length, soon).toBeGreaterThan(6)
    expect(asked('SendMessage')).toHaveLength(2)
    expect(messages()).toHaveLength(2)
    expect(said).toEqual([expect.stringMatching(/did not take what became of a job, which may run again/)])
  })

  it('are counted by SQS, so that its own limit holds', async () => {
    const said = warnings()
    const { enqueue, work, messages, dead } = newQueue({ redrive: 2 })
    const { attempts, perform } = performer(() => {
      throw new TryLater(10, new Error('not yet'))
    })
    const job = sampleJob()
    await enqueue(job)
    await work(perform, { attempts: 5 })
    await expect.poll(() => dead().map(({ body }) => JSON.parse(body)), soon).toEqual([job])
    expect(attempts()).toEqual([1, 2])
    expect(messages()).toEqual([])
    expect(said).toEqual([
      expect.stringMatching(/gives a message out 2 times, but a job has 5 attempts.*Set maxReceiveCount of its RedrivePolicy to 5 or more/),
    ])
  })

  it('fit into the limit of SQS: then nothing is said', async () => {
    const said = warnings()
    const { asked, enqueue, work } = newQueue({ redrive: 5 })
    const { begun, perform } = performer()
    await work(perform, { attempts: 5 })
    await enqueue(sampleJob())
    await expect.poll(() => begun.length + asked('GetQueueAttributes').length, soon).toBe(2)
    expect(said).toEqual([])
  })
})

describe('a job that failed for good', () => {
  const fail = () => {
    throw new Error('gone\u0000 wrong 🏖️')
  }

  it('is moved to the dead letters, with its error, and has all its attempts when it comes back from there', async () => {
    const said = warnings()
    const { enqueue, work, messages, dead } = newQueue({ redrive: 10 })
    const { begun, perform } = performer((_, attempt) => {
      if (attempt === 1) throw new TryLater(10, new Error('not yet'))
      fail()
    })
    const job = sampleJob()
    await enqueue(job)
    await work(perform)
    await expect.poll(() => said, soon).toEqual([expect.stringMatching(/failed outside of its row, and is in http.*-dead now: gone/)])
    expect(messages()).toEqual([])
    expect(dead().map(({ body }) => JSON.parse(body))).toEqual([job])
    expect(dead()[0]?.messageAttributes).toEqual({ error: { DataType: 'String', StringValue: expect.stringMatching(/^gone. wrong/) } })
    expect(begun).toHaveLength(2)
  })

  it('is deleted, with a warning, where there is no such queue', async () => {
    const said = warnings()
    const { enqueue, work, messages } = newQueue()
    const { begun, perform } = performer(fail)
    await enqueue(sampleJob())
    await work(perform)
    await expect.poll(() => said, soon).toEqual([expect.stringMatching(/failed outside of its row, and was deleted: gone/)])
    expect(messages()).toEqual([])
    expect(begun).toHaveLength(1)
  })

  it('is left to SQS where it cannot be moved', async () => {
    const said = warnings()
    const { enqueue, work, messages, dead, queueUrl } = newQueue({ redrive: 10 })
    server.rule = ({ action, body }) => (action === 'SendMessage' && body['QueueUrl'] !== queueUrl ? 'AccessDenied' : undefined)
    await enqueue(sampleJob())
    await work(performer(fail).perform)
    await expect.poll(() => said, soon).toEqual([expect.stringMatching(/did not take what became of a job, which may run again: as the test/)])
    expect([messages().length, dead().length]).toEqual([1, 0])
  })
})

describe('a worker', () => {
  it('asks for as many jobs as it can begin, ten at most, and says how long they are its own', async () => {
    const { enqueue, asked, work } = newQueue()
    const held = door()
    const { begun, perform } = performer(() => held.pass())
    await work(perform, { concurrency: 12 })
    onTestFinished(() => held.open())
    await expect.poll(() => asked('ReceiveMessage').length, soon).toBe(1)
    for (let count = 0; count < 5; count++) await enqueue(sampleJob())
    await expect.poll(() => begun.length, soon).toBe(5)
    await expect
      .poll(() => asked('ReceiveMessage').at(-1), soon)
      .toMatchObject({ MaxNumberOfMessages: 7, VisibilityTimeout: 30, WaitTimeSeconds: 20 })
    expect(asked('ReceiveMessage')[0]).toMatchObject({ MaxNumberOfMessages: 10 })
  })

  it('gives back what it received and did not begin before it was stopped', async () => {
    const { enqueue, work, messages } = newQueue()
    const jobs = [sampleJob(), sampleJob(), sampleJob()]
    for (const job of jobs) await enqueue(job)
    const { begun, perform } = performer(() => void worker.stop())
    // all three come with one answer, and the first of them stops the worker
    const worker = await work(perform, { concurrency: 3 })
    await expect.poll(() => begun.length, soon).toBe(1)
    await worker.stop()
    expect(begun).toHaveLength(1)
    expect(messages()).toHaveLength(2)
    const next = performer()
    await work(next.perform)
    await expect.poll(() => next.begun.length, { timeout: 5 * second }).toBe(2)
  })

  it('stops at once while it waits for jobs, and while it waits for SQS', async () => {
    const { asked, work } = newQueue()
    const worker = await work(performer().perform)
    await expect.poll(() => asked('ReceiveMessage').length, soon).toBe(1)
    await inTime('stop() should return', worker.stop(), 10 * second)

    server.rule = () => 'reset'
    const other = await work(performer().perform)
    await expect.poll(() => asked('ReceiveMessage').length, soon).toBeGreaterThan(2)
    await inTime('stop() should return', other.stop(), 10 * second)
  })

  it('leaves messages of others alone, and finds its own jobs among them', async () => {
    const said = warnings()
    const { enqueue, put, work, messages } = newQueue()
    const others = ['no JSON', 'null', '"text"', '{"kind":"order","id":7}', '{"kind":"delete","entity":"User","attachment":"avatar","gzip":"?"}']
    for (let times = 0; times < 4; times++) for (const other of others) await put(other)
    const { begun, perform } = performer()
    const job = sampleJob()
    await enqueue(job)
    await work(perform, { concurrency: 1 })
    await expect.poll(() => begun.map(({ job }) => job), soon).toEqual([job])
    await expect.poll(() => messages().length, soon).toBe(20)
    expect(said).toEqual([expect.stringMatching(/holds messages that are no jobs of attachments.*a queue of their own/)])
  })
})

describe('where a job runs for long', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  /** A job that runs, and another worker who would take it. */
  async function running() {
    const queue = newQueue()
    const held = door()
    const { begun, perform } = performer(() => held.pass())
    await queue.enqueue(sampleJob())
    await queue.work(perform, { concurrency: 1 })
    await until('the job should begin', () => begun.length === 1, 20 * second)
    await queue.work(perform, { concurrency: 1 })
    onTestFinished(() => held.open())
    const renewals = () => queue.asked('ChangeMessageVisibility')
    /** Lets a quarter of a lease pass, and the renewal be asked for. */
    async function pass() {
      const before = renewals().length
      vi.advanceTimersByTime(7.5 * second)
      // not by vi, whose waiting moves the clock
      await until('the lease should be renewed', () => renewals().length > before, 20 * second)
    }
    return { ...queue, begun, renewals, pass, finish: held.open }
  }

  it('nobody else receives it', async () => {
    const { begun, pass, finish, messages } = await running()
    for (let time = 0; time < 12; time++) await pass()
    expect(begun).toHaveLength(1)
    finish()
    await until('the job should be done', () => messages().length === 0, 20 * second)
  })

  it('it is kept from others for as long as SQS allows', async () => {
    const said = warnings()
    const { begun, renewals, finish, messages } = await running()
    vi.setSystemTime(Date.now() + 12 * hour)
    vi.advanceTimersByTime(10 * second)
    await until('another worker should receive it', () => begun.length === 2, 20 * second)
    await until('a warning should say so', () => said.length > 0, 20 * second)
    expect(said).toEqual([expect.stringMatching(/may run twice.*SQS keeps no message for longer/)])
    expect(renewals()).toEqual([])
    finish()
    await until('the job should be done', () => messages().length === 0, 20 * second)
  })

  it('one warning says that it may run twice, however often that fails', async () => {
    const said = warnings()
    const { begun, pass, finish, messages } = await running()
    server.rule = ({ action }) => (action === 'ChangeMessageVisibility' ? 'ServiceUnavailable' : undefined)
    await pass()
    await pass()
    server.rule = () => undefined
    for (let time = 0; time < 3; time++) await pass()
    expect(begun).toHaveLength(1)
    expect(said).toEqual([expect.stringMatching(/may run twice, because it could not be kept from others/)])
    finish()
    await until('the job should be done', () => messages().length === 0, 20 * second)
  })
})

const pen = scribe()

@Entity()
class Report {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { a: '1x1' }, accept: 'any', processors: [pen] })
  scan!: Attached<'a'>
}

describe('when SQS does not answer', () => {
  it('files are saved all the same, and stored when it is back', async () => {
    const { adapter } = newQueue()
    const said = warnings()
    await server.down()
    const here = await world([Report], { background: adapter })
    const worker = await here.attachments.work()
    const report = new Report()
    await here.attachments.attach(report, 'scan', Buffer.from('text'))
    await here.dataSource.manager.save(report)
    expect(report.id).toBe(1)
    const fresh = () => here.dataSource.getRepository(Report).findOneByOrFail({ id: report.id })
    expect((await fresh()).scan.processing).toBe(true)
    expect(said.some((line) => line.includes('requeueLost() will find it again'))).toBe(true)
    await server.up()
    expect(await here.attachments.requeueLost({ olderThan: 0 })).toBe(1)
    await expect.poll(async () => (await fresh()).scan.processing, soon).toBe(false)
    expect(here.storage.objects.size).toBe(2)
    await worker.stop()
  })

  it('its worker goes on when it is back, having said so once', async () => {
    const said = warnings()
    const { enqueue, asked, work } = newQueue()
    const { begun, perform } = performer()
    server.rule = ({ action }) => (action === 'ReceiveMessage' ? 'reset' : undefined)
    await work(perform)
    await enqueue(sampleJob())
    await expect.poll(() => asked('ReceiveMessage').length, soon).toBeGreaterThan(1)
    server.rule = () => undefined
    await expect.poll(() => begun.length, soon).toBe(1)
    expect(said).toEqual([expect.stringMatching(/no jobs come from http.*and it will be asked again/)])
  })

  it('enqueue() gives up', async () => {
    const { enqueue } = newQueue()
    server.rule = () => 'hang'
    await expect(enqueue(sampleJob())).rejects.toThrow()
  })
})

function largeDelete(): DeleteJob {
  const { storage } = sampleJob() as ProcessJob
  const rows = Array.from({ length: 1_000 }, (_, id) => {
    const version = randomBytes(16).toString('hex')
    const keys = [`users/avatars/000/000/${id}/${version}/original/a photograph from the summer holidays of ${id}.jpeg`]
    return { id: { id }, files: [{ version, storage, keys, staged: [`User/avatar/${version.slice(0, 2)}/${version}/original`] }] }
  })
  return { kind: 'delete', entity: 'User', attachment: 'avatar', rows, note: '.deletes/x.json', at: new Date().toISOString() }
}
