import { Readable } from 'node:stream'
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
      else yield* from(later, { contentType: made.contentType, open: async () => Readable.from([made.body]) }, [made.style])
    }
  }

  return {
    reads: (contentType) => firstFor(contentType) >= 0,
    formatFor: (contentType) => processors[firstFor(contentType)]?.formatFor?.(contentType),
    identify: async (input) => processors[firstFor(input.contentType)]?.identify?.(input),
    process: (input, styles) => from(0, input, styles),
  }
}
