import { Readable } from 'node:stream'
import { ProcessingError } from '../errors'
import type { Style } from '../style/style'
import type { Made, Processor, ProcessorInput } from './processor'

/**
 * One processor out of several: the first that reads the original makes the styles, each later one gets every style in
 * turn and makes it anew, if it reads what it is given: a watermark, an optimiser.
 */
export function chain(processors: readonly Processor[]): Processor {
  const firstFor = (contentType: string) => processors.findIndex((processor) => processor.reads(contentType))

  async function* from(index: number, input: ProcessorInput, styles: readonly Style[]): AsyncIterable<Made> {
    const next = processors.findIndex((processor, at) => at >= index && processor.reads(input.contentType))
    for await (const made of processors[next]?.process(input, styles) ?? []) {
      const later = processors.findIndex((processor, at) => at > next && processor.reads(made.contentType))
      if (later < 0) yield made
      else yield* looking(made, from(later, { contentType: made.contentType, open: async () => Readable.from([made.body]) }, [made.style]))
    }
  }

  /** Nobody relies on a processor for this: a row that says more than the storage holds shows broken links for ever. */
  async function* complete(input: ProcessorInput, styles: readonly Style[]): AsyncIterable<Made> {
    if (styles.length === 0) return
    const missing = new Set(styles.map(({ name }) => name))
    for await (const made of from(0, input, styles)) {
      if (!missing.delete(made.style.name))
        throw new ProcessingError('style_unexpected', `a processor made '${made.style.name}', which nobody asked it for`)
      if (made.body.length === 0) throw new ProcessingError('style_empty', `a processor made nothing of '${made.style.name}': not a byte`)
      yield made
    }
    if (missing.size > 0)
      throw new ProcessingError('style_missing', `no processor made ${[...missing].join(', ')}: each has to yield every style it is given`)
  }

  return {
    reads: (contentType) => firstFor(contentType) >= 0,
    formatFor: (contentType) => processors[firstFor(contentType)]?.formatFor?.(contentType),
    identify: async (input) => processors[firstFor(input.contentType)]?.identify?.(input),
    outside: (contentType) => processors[firstFor(contentType)]?.outside?.(contentType),
    process: complete,
  }
}

/** Who came first has seen the whole picture; later ones see one style of it. */
async function* looking({ thumbhash }: Made, later: AsyncIterable<Made>): AsyncIterable<Made> {
  for await (const made of later) yield thumbhash ? { ...made, thumbhash } : made
}
