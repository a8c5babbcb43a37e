import { setTimeout } from 'node:timers/promises'
import type { BackgroundAdapter, Job } from 'typeorm-attachments'

/**
 * Jobs are functions: each is posted to where these run, and again if it failed there. What is lost on the way is found by the clock.
 *
 * @param url where events are posted
 */
export function functionBackground(url: string): BackgroundAdapter {
  const closing = new AbortController()
  const { signal } = closing

  async function deliver(job: Job, attempts: number): Promise<void> {
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const answer = await fetch(url, { method: 'POST', body: JSON.stringify({ job, attempt }), signal }).catch(() => undefined)
      if (answer?.ok) return
      await setTimeout(500 * 2 ** attempt, undefined, { signal })
    }
    console.error(`gave up a job: ${JSON.stringify(job)}`)
  }

  return {
    // whoever saves does not wait for it; and only that this process ends can stop it
    enqueue: async (job, { attempts }) => void deliver(job, attempts).catch(() => undefined),
    close: async () => closing.abort(),
  }
}
