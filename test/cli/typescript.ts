import { Attachments, dataSource, options } from './parts'

// given to the command as it is

export const photos = dataSource()
export default new Attachments(options())
