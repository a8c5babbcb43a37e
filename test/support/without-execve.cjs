// for NODE_OPTIONS: a Node that cannot put another program in its place, as before 22.15
process.execve = undefined
