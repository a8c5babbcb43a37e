import type { Signal } from '../notify/signal'
import type { Frames } from './frames'
import type { Look } from './look-together'
import type { OpenStreams } from './open-streams'
import type { WatchPort } from './watch-port'
import { type Show, see, type TokenFor, type WatchState } from './watch-state'

const encoder = new TextEncoder()

/** What a stream works with. */
export interface StreamSetup {
  readonly port: WatchPort
  readonly look: Look
  readonly streams: OpenStreams
  readonly show: Show
}

/** One file of a page. */
interface Watched {
  readonly file: TokenFor
  /** What the page was told last. */
  told?: Pick<WatchState, 'state' | 'mark'>
  /** The progress of this attempt. */
  done: number
  looking: boolean
  /** Something has happened since the look that is under way. */
  again: boolean
}

/** A state that is still to be told, as a page reads it: what makes no JSON never gets so far. */
interface Told {
  readonly state: WatchState
  readonly event: string
}

/**
 * Tells one page what happens to its files, as fast as it reads: of each file nothing is kept but what it is to be told next. Whatever
 * happens from the beginning on is heard, so that no look comes too early.
 */
export class WatchStream {
  readonly #setup: StreamSetup
  readonly #files: readonly Watched[]
  readonly #deaf: ReadonlyArray<() => void>
  readonly #frames: Frames
  readonly #toTell = new Map<string, Told>()
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #ended = false

  constructor(files: readonly TokenFor[], frames: Frames, setup: StreamSetup) {
    this.#setup = setup
    this.#frames = frames
    this.#files = files.map((file) => ({ file, done: 0, looking: false, again: false }))
    this.#deaf = this.#files.map((watched) => setup.port.watch(watched.file.version, (signal) => this.#wake(watched, signal)))
    setup.streams.add(this)
  }

  /** Looks at all files, and gives what the page reads. */
  async begin(): Promise<ReadableStream<Uint8Array>> {
    await Promise.all(this.#files.map((watched) => this.#look(watched)))
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller
        controller.enqueue(encoder.encode(this.#frames.first + this.#taken()))
        if (this.#ended) controller.close()
      },
      pull: () => this.#write(),
      cancel: () => {
        this.#controller = undefined
        this.end()
      },
    })
  }

  /** Looks at all files once more, in case that something was not heard. */
  lookAgain(): void {
    for (const watched of this.#files) if (!watched.looking) this.#lookLater(watched)
  }

  /** Shows that the stream is open. A page that reads slowly sees that anyway. */
  beat(): void {
    if (this.#isRead()) this.#controller?.enqueue(encoder.encode(this.#frames.alive))
  }

  /** Ends, with what is still to be told. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#setup.streams.delete(this)
    for (const forget of this.#deaf) forget()
    if (this.#toTell.size > 0) this.#controller?.enqueue(encoder.encode(this.#taken()))
    this.#controller?.close()
  }

  #wake(watched: Watched, signal: Signal | undefined): void {
    const { file, told, done } = watched
    if (signal?.state === 'processing') watched.done = 0
    if (signal?.state !== 'progress' || told?.state !== 'processing') return void this.#lookLater(watched)
    const { progress } = signal
    // others' signals may come in another order
    if (!progress || progress.done <= done) return
    watched.done = progress.done
    this.#tell({ token: file.token, ...told, progress, topic: this.#setup.port.topicOf(file.version) })
  }

  #lookLater(watched: Watched): void {
    if (watched.looking) {
      watched.again = true
      return
    }
    this.#look(watched).catch((error) => {
      if (this.#ended) return
      this.#setup.streams.failed(error)
      if (watched.again) this.#lookLater(watched)
    })
  }

  async #look(watched: Watched): Promise<void> {
    const { look, show, port } = this.#setup
    watched.looking = true
    try {
      do {
        watched.again = false
        const { mark, state, tell } = await see(watched.file, look, show, port.topicOf)
        if (this.#ended || watched.told?.mark === mark) continue
        this.#tell(await tell())
        watched.told = { state, mark }
      } while (watched.again && !this.#ended)
    } finally {
      watched.looking = false
    }
  }

  /** What a page that reads slowly was not told yet is told as it is by then. */
  #tell(state: WatchState): void {
    const now = { file: this.#toTell.get(state.token)?.state.file, ...state }
    this.#toTell.set(state.token, { state: now, event: this.#frames.of(now) })
    this.#write()
  }

  #write(): void {
    if (this.#toTell.size > 0 && this.#isRead()) this.#controller?.enqueue(encoder.encode(this.#taken()))
  }

  #isRead(): boolean {
    return !this.#ended && (this.#controller?.desiredSize ?? 0) > 0
  }

  #taken(): string {
    const events = this.#files.map(({ file }) => this.#toTell.get(file.token)?.event ?? '')
    this.#toTell.clear()
    return events.join('')
  }
}
