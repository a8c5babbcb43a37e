const { diskStorage } = require('typeorm-attachments')

module.exports = async () => diskStorage({ root: 'contract' })
