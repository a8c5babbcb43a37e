import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

/** Every file below a folder, as relative paths, hidden and unfinished ones too; but not the mark by which a disk storage knows it. */
export async function filesIn(root: string): Promise<string[]> {
  if (!existsSync(root)) return []
  // a folder may vanish while it is looked at
  const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => undefined)
  if (!entries) return filesIn(root)
  const paths = entries.flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name).slice(root.length + 1)] : []))
  return paths.filter((path) => path !== '.area').sort()
}
