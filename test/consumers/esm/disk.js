import { diskStorage } from 'typeorm-attachments'

export const makeStorage = async () => diskStorage({ root: 'contract' })
