import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { ProcessingError } from '../src/errors'
import { imageProcessor } from '../src/processor/image'
import { memoryFor, memoryForPictures, pictureRoom } from '../src/processor/memory'
import type { Made, Processor } from '../src/processor/processor'
import { type Room, roomFor } from '../src/room'
import { resolveStyle } from '../src/style/style'
import { jpeg, photo, picture } from './support/pictures'

describe('a room', () => {
  /** Lets everything go on that can: what waits for a promise that is settled. */
  const settled = () => new Promise(setImmediate)

  /** Enters, and says so. */
  async function come(room: Room, size: number, name: string, came: string[]): Promise<() => void> {
    const leave = await room.enter(size)
    came.push(name)
    return leave
  }

  it('never holds more than fits, and all come in', async () => {
    const room = roomFor(10)
    let inside = 0
    let most = 0
    const visits = Array.from({ length: 200 }, async (_, at) => {
      const size = (at * 7) % 10
      const leave = await room.enter(size)
      inside += size
      most = Math.max(most, inside)
      await settled()
      inside -= size
      leave()
    })
    await Promise.all(visits)
    expect([most, inside]).toEqual([10, 0])
  })

  it('lets nobody pass who came later, however small', async () => {
    const room = roomFor(10)
    const came: string[] = []
    const leave = await room.enter(6)
    const big = come(room, 9, 'big', came)
    const small = come(room, 1, 'small', came)
    await settled()
    expect(came).toEqual([])
    leave()
    await big
    await small
    expect(came).toEqual(['big', 'small'])
  })

  it('is had alone by what is larger than all of it', async () => {
    const room = roomFor(10)
    const came: string[] = []
    const leave = await room.enter(1)
    const huge = come(room, 1000, 'huge', came)
    const later = come(room, 1, 'later', came)
    await settled()
    expect(came).toEqual([])
    leave()
    const leaveHuge = await huge
    await settled()
    expect(came).toEqual(['huge'])
    leaveHuge()
    await later
  })

  it('tells by a size of nothing when nobody waits any more', async () => {
    const room = roomFor(2)
    const leave = await room.enter(2)
    await room.enter(0)
    const came: string[] = []
    const waits = come(room, 1, 'one who waits', came)
    const asks = come(room, 0, 'one who asks', came)
    await settled()
    expect(came).toEqual([])
    leave()
    await Promise.all([waits, asks])
    expect(came).toEqual(['one who waits', 'one who asks'])
  })
})

describe('the memory for pictures', () => {
  it.each([
    ['a quarter of what a container may use', 512, 16_384, 128],
    ['an eighth of a machine without a limit', undefined, 16_384, 2_048],
    ['an eighth of a machine whose limit is none', 2 ** 63, 16_384, 2_048],
    ['an eighth of a machine whose limit is not known', 0, 16_384, 2_048],
  ])('is %s', (_, limit, machine, expected) => expect(memoryForPictures(limit, machine)).toBe(expected))

  const describeWith = async (bytes: Promise<Buffer>) => (await import('sharp')).default(await bytes).metadata()
  const thumb = resolveStyle('thumb', '100x100#')
  const plan = { style: thumb, format: 'jpeg', target: { width: 100, height: 100 } } as const

  it('counts the whole picture where it was written to appear bit by bit', async () => {
    const plain = memoryFor(await describeWith(picture(1000, 1000).jpeg().toBuffer()), 1, plan.target, [plan])
    const progressive = memoryFor(await describeWith(picture(1000, 1000).jpeg({ progressive: true }).toBuffer()), 1, plan.target, [plan])
    expect(progressive - plain).toBe(1000 * 1000 * 3 * 2)
  })

  it('counts every frame, and every style', async () => {
    const metadata = await describeWith(picture(100, 100).gif().toBuffer())
    const once = memoryFor(metadata, 1, plan.target, [plan])
    expect(memoryFor(metadata, 12, plan.target, [plan])).toBe(12 * once)
    expect(memoryFor(metadata, 1, plan.target, [plan, plan])).toBeGreaterThan(once)
  })
})

describe('pictures in the room', () => {
  const images = imageProcessor()
  const styles = ['100x100#', '300x300>'].map((geometry, at) => resolveStyle(`style${at}`, geometry))
  const inputOf = (bytes: Buffer) => ({ contentType: 'image/jpeg', open: async () => (await import('node:stream')).Readable.from([bytes]) })

  async function collect(processor: Processor, bytes: Buffer): Promise<Made[]> {
    const made: Made[] = []
    for await (const one of processor.process(inputOf(bytes), styles)) made.push(one)
    return made
  }

  /** Comes back when nobody is in the room: it would not, if somebody had kept a place. */
  async function empty(): Promise<void> {
    const leave = await pictureRoom().enter(Number.POSITIVE_INFINITY)
    leave()
  }

  it('wait until there is some, and give it back', async () => {
    const bytes = await jpeg()
    const leave = await pictureRoom().enter(Number.POSITIVE_INFINITY)
    const entering = vi.spyOn(pictureRoom(), 'enter')
    onTestFinished(() => entering.mockRestore())
    const order: string[] = []
    const making = Promise.all(Array.from({ length: 5 }, () => collect(images, bytes).then((made) => order.push(`${made.length} made`))))
    await vi.waitFor(() => expect(entering).toHaveBeenCalledTimes(5))
    order.push('room')
    leave()
    await making
    expect(order).toEqual(['room', ...Array(5).fill('2 made')])
    await empty()
  })

  it('give it back when they cannot be decoded', async () => {
    const bytes = await photo(1200, 900).jpeg().toBuffer()
    await expect(collect(images, bytes.subarray(0, bytes.length / 2))).rejects.toBeInstanceOf(ProcessingError)
    await empty()
  })

  it('give it back when nobody wants their styles any more', async () => {
    for await (const made of images.process(inputOf(await jpeg()), styles)) {
      expect(made.body.length).toBeGreaterThan(0)
      break
    }
    await empty()
  })

  it('give it back before their styles are taken, so that who takes them can make more of them', async () => {
    const bytes = await jpeg()
    for await (const { body } of images.process(inputOf(bytes), styles)) {
      const leave = await pictureRoom().enter(Number.POSITIVE_INFINITY)
      leave()
      expect(await collect(images, Buffer.from(body))).toHaveLength(2)
    }
  })
})
