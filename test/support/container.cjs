// for NODE_OPTIONS: a process that is told how much memory its container has, in bytes
const { CONTAINER_MEMORY } = process.env
process.constrainedMemory = () => Number(CONTAINER_MEMORY)
