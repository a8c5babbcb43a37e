/** One token's value, from what is known of a file. `undefined` prints as nothing. */
export type Token<Context> = (context: Context) => string | undefined

export interface Template<Context> {
  readonly source: string
  /** The tokens that occur, without their colon. */
  readonly tokens: readonly string[]
  /** Each value goes through `encode` on its way in, with the token's name; the template's own text stays as it is. */
  render(context: Context, encode?: (value: string, token: string) => string): string
}

/**
 * Reads a template such as `:class/:id_partition/:style/:filename` in one pass, the longest token first, so that
 * `:id_partition` is not `:id`. Values are never read again as templates.
 * Throws a plain `Error` on a token nobody defined.
 */
export function compileTemplate<Context>(source: string, tokens: Readonly<Record<string, Token<Context>>>): Template<Context> {
  const names = Object.keys(tokens).sort((a, b) => b.length - a.length)
  const parts: Array<{ text: string; token?: string }> = []
  let rest = source
  for (let at = rest.search(/:[a-z_]/i); at >= 0; at = rest.search(/:[a-z_]/i)) {
    const name = names.find((candidate) => rest.startsWith(candidate, at + 1))
    if (name === undefined) {
      const word = /^:\w+/.exec(rest.slice(at))?.[0]
      throw new Error(
        `has an unknown token '${word}': there are ${names
          .map((known) => `:${known}`)
          .sort()
          .join(' ')}`,
      )
    }
    parts.push({ text: rest.slice(0, at) }, { text: '', token: name })
    rest = rest.slice(at + 1 + name.length)
  }
  parts.push({ text: rest })
  return {
    source,
    tokens: parts.flatMap((part) => part.token ?? []),
    render: (context, encode = (value) => value) =>
      parts.map(({ text, token }) => (token ? encode(tokens[token]?.(context) ?? '', token) : text)).join(''),
  }
}
