import PgBoss from 'pg-boss'
import { pgBossBackground } from '../../../examples/pg-boss/pg-boss-background'

/** The pg-boss of a test, in another process. A job comes back after a second instead of a quarter of an hour. */
export async function makeBackground() {
  const boss = new PgBoss({ connectionString: process.env['CONTRACT_DATABASE'] as string, maintenanceIntervalSeconds: 1, supervise: true })
  boss.on('error', () => undefined)
  await boss.start()
  return Object.assign(pgBossBackground(boss, { expireInSeconds: 1 }), { boss })
}
