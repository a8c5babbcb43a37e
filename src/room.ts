/** Room for so much at a time, first come, first served. */
export interface Room {
  /**
   * Waits until there is room for `size`, and for all who came before; what comes back gives it up, to be called once. What
   * is larger than the whole room has it alone. A size of 0 takes nothing: it waits until nobody is waiting any more.
   */
  enter(size: number): Promise<() => void>
}

/** @param total in the unit of the sizes: requests, bytes */
export function roomFor(total: number): Room {
  let taken = 0
  const waiting: Array<{ size: number; admit: (leave: () => void) => void }> = []

  function admit(): void {
    for (let [next] = waiting; next && taken + next.size <= total; [next] = waiting) {
      const { size, admit } = next
      waiting.shift()
      taken += size
      admit(() => leave(size))
    }
  }

  function leave(size: number): void {
    taken -= size
    admit()
  }

  return {
    enter: (size) =>
      new Promise((resolve) => {
        waiting.push({ size: Math.min(size, total), admit: resolve })
        admit()
      }),
  }
}
