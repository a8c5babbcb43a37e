import pluralize from 'pluralize'

/** `UserProfile` → `user_profile`, `HTMLPage` → `html_page`. */
export function underscore(name: string): string {
  return name
    .replace(/([A-Z\d]+)([A-Z][a-z])/g, '$1_$2')
    .replace(/([a-z\d])([A-Z])/g, '$1_$2')
    .replace(/-/g, '_')
    .toLowerCase()
}

/** Names of classes and properties, of which a program has few. */
const tableized = new Map<string, string>()

/** `avatar` → `avatars`, `company_person` → `company_people`: the last word takes the plural. */
export function tableize(name: string): string {
  const known = tableized.get(name) ?? pluralized(name)
  tableized.set(name, known)
  return known
}

function pluralized(name: string): string {
  const words = underscore(name).split('_')
  const last = words.pop() ?? ''
  return [...words, pluralize(last)].join('_')
}
