import { onTestFinished } from 'vitest'

/** What the library warns of, from now on. */
export function warnings(): string[] {
  const said: string[] = []
  const hear = (warning: Error) => void (warning.name === 'AttachmentWarning' && said.push(warning.message))
  process.on('warning', hear)
  onTestFinished(() => void process.off('warning', hear))
  return said
}
