import type { BackgroundAdapter } from './adapter'

/** No background at all: each job runs right after the commit, and whoever saved waits for it. For scripts and tests. */
export function inlineBackground(): BackgroundAdapter {
  return {
    enqueue: (_job, { performNow }) => performNow(),
  }
}
