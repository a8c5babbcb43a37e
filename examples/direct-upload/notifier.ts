import { setTimeout } from 'node:timers/promises'
import mqtt from 'mqtt'
import { mqttNotifier, postgresNotifier } from 'typeorm-attachments'
import { needed } from './settings'

// functions tell what they do, and web tells pages: by an MQTT broker, where there is one, to which pages may listen themselves; else
// by PostgreSQL

const { MQTT_URL } = process.env
const client = MQTT_URL ? mqtt.connect(MQTT_URL) : undefined
// it connects again by itself
client?.on('error', console.error)

export const notifier = client ? mqttNotifier({ client }) : postgresNotifier({ connection: needed('DATABASE_URL') })

/** Before a process ends: what is on its way to the broker arrives, unless the broker is away. */
export async function endTelling(): Promise<void> {
  await Promise.race([client?.endAsync(), setTimeout(2_000, undefined, { ref: false })])
}
