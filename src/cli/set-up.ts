import type { DataSource } from 'typeorm'
import type { Attachments } from '../attachments'
import { doesNotHelp, Ended, isWrongSetUp, lineOf, mayHelp } from './ended'
import { isAttachments, isDataSource, type Loaded, load, only } from './load'
import type { WorkerOptions } from './options'

export interface SetUp {
  readonly attachments: Attachments
  /** The one that they are connected to. */
  readonly dataSource: DataSource
}

/** Loads the user's modules, and connects what they export where they have not done so. Throws `Ended`. */
export async function setUp(options: Pick<WorkerOptions, 'module' | 'dataSource'>): Promise<SetUp> {
  const loaded = await load(options.module)
  const attachments = await only(loaded, 'Attachments', isAttachments)
  if (!attachments) {
    throw new Ended(`${options.module} exports no Attachments: export what new Attachments({ … }) gave you, under any name`, doesNotHelp)
  }
  const { background } = attachments
  if (!background.work || background.start) {
    const cure = 'Give new Attachments({ background }) a queue that other processes can read, such as graphileBackground() or bullmqBackground()'
    throw new Ended(`a worker has nothing to do: the background adapter runs jobs in the process that saves. ${cure}`, doesNotHelp)
  }
  if (attachments.dataSource) return { attachments, dataSource: attachments.dataSource }
  const dataSource = await dataSourceOf(loaded, options)
  try {
    if (!dataSource.isInitialized) await dataSource.initialize()
  } catch (error) {
    throw new Ended(`the data source could not be initialized: ${lineOf(error)}`, mayHelp)
  }
  try {
    await attachments.connect(dataSource)
  } catch (error) {
    throw new Ended(`the attachments could not be connected: ${lineOf(error)}`, isWrongSetUp(error) ? doesNotHelp : mayHelp)
  }
  return { attachments, dataSource }
}

async function dataSourceOf(loaded: Loaded, { module, dataSource: path }: Pick<WorkerOptions, 'module' | 'dataSource'>): Promise<DataSource> {
  const place = path === undefined ? loaded : await load(path)
  const dataSource = await only(place, 'data sources', isDataSource)
  if (dataSource) return dataSource
  const cure = `export your DataSource from ${module}, name the file that does with --data-source, or connect() the attachments in ${module}`
  throw new Ended(`${place.path} exports no DataSource for the attachments, which are not connected: ${cure}`, doesNotHelp)
}
