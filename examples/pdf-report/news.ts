import { EventEmitter } from 'node:events'
import type { Request, Response } from 'express'
import { attachments, dataSource } from './attachments'
import { Report } from './report'

/** Rings by the id of a report when it has been rendered, or cannot be. */
const bell = new EventEmitter().setMaxListeners(0)
for (const state of ['attached', 'failed'] as const) attachments.events.on(state, ({ id }) => bell.emit(String(id['id'])))

/** After so long the browser asks anew: routers cut what is silent for a minute, and a signal may be lost. Milliseconds. */
const longest = 50_000

/** Tells a page, once, by which token it watches the document of a report, or why there is none. Until then nothing is asked of anybody. */
export async function tellRendered({ params }: Request<{ id: string }>, response: Response): Promise<void> {
  const { id } = params
  const look = async () => {
    const report = await dataSource.getRepository(Report).findOneBy({ id: Number(id) })
    if (report?.state === 'rendering' || response.writableEnded) return
    const told = report?.document.present ? { token: report.document.watchToken() } : { problem: report?.problem ?? 'there is no such report' }
    response.end(`data: ${JSON.stringify(told)}\n\n`)
  }
  response.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache', 'X-Accel-Buffering': 'no' }).flushHeaders()
  const ring = () => look().catch(() => response.destroy())
  const timer = setTimeout(() => response.end(), longest)
  bell.on(id, ring)
  response.once('close', () => {
    clearTimeout(timer)
    bell.off(id, ring)
  })
  await ring()
}
