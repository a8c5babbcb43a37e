import { messageOf } from '../errors'

/** Something did not answer, or jobs were cut short: a restart may help. */
export const mayHelp = 1
/** The command line or the set-up is wrong: a restart does not help. */
export const doesNotHelp = 2

/** Ends the command with a sentence that says what to do. */
export class Ended extends Error {
  constructor(
    message: string,
    /** Whether a restart helps. */
    readonly exitCode: typeof mayHelp | typeof doesNotHelp,
  ) {
    super(message)
  }
}

/** What this library calls a wrong set-up. By name, because whoever threw it may be another copy. */
export function isWrongSetUp(error: unknown): boolean {
  return ['DeclarationError', 'UsageError'].includes(Object(error).name)
}

/** An error in one line. A server with several addresses, none of which answers, makes an error without a message. */
export function lineOf(error: unknown): string {
  const { errors } = Object(error) as { errors?: readonly unknown[] }
  const message = messageOf(error) || errors?.map(messageOf).join(', ') || String(error)
  return message.trim().split('\n', 1)[0] as string
}
