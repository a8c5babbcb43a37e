import type { Trial } from './trial'

export type BackgroundCase = readonly [name: string, check: (trial: Trial) => Promise<void>]
