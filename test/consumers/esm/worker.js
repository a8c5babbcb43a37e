import 'reflect-metadata'
import { DataSource } from 'typeorm'
import { Attachments, memoryStorage } from 'typeorm-attachments'

/** A queue that is empty, and closes as soon as somebody works on it. */
const background = {
  enqueue: async () => undefined,
  async work() {
    process.kill(process.pid, 'SIGTERM')
    return { stop: async () => undefined }
  },
}

export const attachments = new Attachments({ staging: memoryStorage(), storage: memoryStorage(), background })
await attachments.connect(await new DataSource({ type: 'sqljs', entities: [] }).initialize())
