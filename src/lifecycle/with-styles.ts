import type { Meta, StyleRecord, Styles } from '../attachment/record'

/** What is known by now of some styles. One that has got another key meanwhile stays as it is. */
export function withStyles(meta: Meta, known: Styles): Meta {
  const put = (styles: Styles) => Object.fromEntries(Object.entries(styles).map(([name, style]) => [name, sameKey(known[name], style) ?? style]))
  return { ...meta, styles: put(meta.styles), ...(meta.next && { next: put(meta.next) }) }
}

function sameKey(known: StyleRecord | undefined, { key }: StyleRecord): StyleRecord | undefined {
  return known?.key === key ? known : undefined
}

/** All that are planned, by name: those that are made anew in place of those that are shown. */
export function plannedStyles({ styles, next }: Meta): Styles {
  return { ...styles, ...next }
}
