/** A variable of the environment that has to be there. */
export function needed(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: see the README of this example`)
  return value
}

/** Where a process of this app listens: all of them are on one machine. */
export function at(port: string): string {
  return `http://127.0.0.1:${needed(port)}/`
}
