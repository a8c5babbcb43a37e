import type { KillRun, Point } from './kill'

export interface NamedPoint {
  readonly scenario: string
  readonly point: Point
}

/** Every point at which a scenario can be killed, as a run that was not killed has found them. */
export function pointsOf(scenario: string, { calls, uploads }: Pick<KillRun, 'calls' | 'uploads'>): NamedPoint[] {
  const around = calls.flatMap((name, at) => {
    const nth = calls.slice(0, at + 1).filter((other) => other === name).length
    return whensOf(name).map((when) => ({ scenario, point: { when, name, nth } }))
  })
  const amid = Array.from({ length: uploads }, (_, at) => ({ scenario, point: { when: 'amid', name: 'upload', nth: at + 1 } as const }))
  return [...around, ...amid]
}

/** After a call that changes nothing the world is as it is before the next one. */
function whensOf(name: string): ReadonlyArray<'before' | 'during' | 'after'> {
  if (/ (SELECT|START|read|stat|list)$/.test(name)) return ['before']
  return name === 'staging write' ? ['before', 'during', 'after'] : ['before', 'after']
}

/** `remove:after:storage-delete:1`: names a point so that it can be run again alone. */
export function idOf({ scenario, point: { when, name, nth } }: NamedPoint): string {
  return [scenario, when, name.replace(' ', '-'), nth].join(':')
}
