/** A bug, planted by replacing a piece of the source. */
export interface Mutation {
  readonly name: string
  /** Below `src/lifecycle/`. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

/** Each of these loses something, or leaves something over, and the simulator has to say so. */
export const mutations: readonly Mutation[] = [
  {
    name: 'a job changes the row whatever version it is at',
    file: 'fence.ts',
    find: 'if (known?.version !== version || !known.processing) throw new Overtaken()',
    replace: 'if (!known) throw new Overtaken()\n        version = known.version',
  },
  {
    name: 'twins of a job overwrite each other',
    file: 'fence.ts',
    find: 'const fence = { version, processing: true, attemptedAt: before.attemptedAt }',
    replace: 'const fence = { version, processing: true }',
  },
  {
    name: 'the staged files are removed before anything is verified',
    file: 'process.ts',
    find: 'const rest = ports.every',
    replace: 'await staging.delete(stagedKeys(record.meta))\n  const rest = ports.every',
  },
  {
    name: 'the staged files are removed before the row says that everything is stored',
    file: 'process.ts',
    find: '  let { meta } = record',
    replace: '  await staging.delete(stagedKeys(record.meta))\n  let { meta } = record',
  },
  {
    name: 'the staged files stay',
    file: 'process.ts',
    find: 'await staging.delete([...stagedKeys(record.meta), ...notes])\n',
    replace: '',
  },
  {
    name: 'processing is cleared although something failed',
    file: 'process.ts',
    find: 'throw errors.find(isRetryable) ?? errors[0]',
    replace: 'if (isRetryable(errors[0])) throw errors[0]',
  },
  {
    name: 'what is not written is recorded as written',
    file: 'with-styles.ts',
    find: 'return known?.key === key ? known : undefined',
    replace: 'return known ?? { key, written: true, contentType: "text/plain" }',
  },
  {
    name: 'old files are deleted before the new URLs are in the row',
    file: 'process.ts',
    find: '    meta = (await row.change(',
    replace: '    await deletePrevious(ref, withoutNext(meta, record.version).previous ?? [], ports)\n    meta = (await row.change(',
  },
  {
    name: 'old files are forgotten',
    file: 'process.ts',
    find: 'await deletePrevious(ref, meta.previous ?? [], ports)',
    replace: '',
  },
  {
    name: 'a replaced file that a job may still be writing has no note',
    file: 'process.ts',
    find: 'const unfinished = previous.filter((files) => files.unfinished)',
    replace: 'const unfinished: typeof previous = []',
  },
  {
    name: 'a stale job deletes whatever it planned',
    file: 'process.ts',
    find: 'unreferred([{ ...job, staged: [] }], record)',
    replace: '[{ ...job, keys: [...job.keys, ...(record ? Object.values(record.meta.styles).map(({ key }) => key) : [])], staged: [] }]',
  },
  {
    name: 'a stale job deletes the staged files too',
    file: 'process.ts',
    find: 'unreferred([{ ...job, staged: [] }], record)',
    replace: '[{ ...job, staged: record ? Object.values(record.meta.styles).flatMap(({ staged }) => staged ?? []) : [] }]',
  },
  {
    name: 'a stale job leaves what it wrote',
    file: 'process.ts',
    find: 'await deleteFiles(ref, unreferred([{ ...job, staged: [] }], record), ports)',
    replace: '',
  },
  {
    name: 'a late twin deletes what is kept on purpose',
    file: 'process.ts',
    find: "if (ports.definition(job.entity, job.attachment).keepsFiles !== 'never') return",
    replace: '',
  },
  {
    name: 'a twin of a finished job leaves the staged files to nobody, and a failed one loses them',
    file: 'process.ts',
    find: 'if (!record.processing && !record.error) await ports.staging.delete(job.staged)',
    replace: 'await ports.staging.delete(job.staged)',
  },
  {
    name: 'a write is not verified',
    file: 'store.ts',
    find: 'await bring(key, { contentType, size, fileName })',
    replace:
      'await bring(key, { contentType, size, fileName }).catch(() => undefined)\n      if (Math.abs(1)) return void (written[name] = { ...style, written: true })',
  },
  {
    name: 'a style that fails keeps the others from being made',
    file: 'store.ts',
    find: 'if (!(error instanceof ProcessingError) || wanted.length === 1) throw error',
    replace: 'if (error) throw error',
  },
  {
    name: 'a failed file goes on processing',
    file: 'perform.ts',
    find: 'row.change(() => ({ processing: false, error: failure })',
    replace: 'row.change(() => ({ error: failure })',
  },
  {
    name: 'a job that fails is not heard of again',
    file: 'perform.ts',
    find: 'throw new TryLater(delay, error)\n  }\n}\n\n/** The original',
    replace: 'await row.change(() => ({ attemptedAt: new Date(ports.now().getTime() + 1e9) }))\n  }\n}\n\n/** The original',
  },
  {
    name: 'the old file is not carried along when it is replaced',
    file: 'plan.ts',
    find: "const previous = before ? leftFiles(before, definition.keepsFiles !== 'never') : []",
    replace: 'const previous: ReturnType<typeof leftFiles> = []',
  },
  {
    name: 'keys do not hold the version',
    file: 'plan.ts',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source
    find: "`${name ?? ''}-${version}${extension ?? ''}`",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source
    replace: "`${name ?? ''}${extension ?? ''}`",
  },
  {
    name: 'styles are made anew under the same version',
    file: 'plan.ts',
    find: 'const fresh = { ...record, version: newVersion(),',
    replace: 'const fresh = { ...record,',
  },
  {
    name: 'an intent can be carried out again after its commit',
    file: 'intents.ts',
    find: 'consume: (version) => void held.delete(version)',
    replace: 'consume: (version) => mark(version, false)',
  },
  {
    name: 'nobody minds a COMMIT without an answer',
    file: 'save.ts',
    find: 'const certain = intents.get(intent.version)?.uncertain === false',
    replace: 'const certain = true',
  },
  {
    name: 'a detached file is forgotten',
    file: 'save.ts',
    find: "left: before && { ref, files: leftFiles(before, definition.keepsFiles !== 'never') }",
    replace: 'left: null',
  },
  {
    name: 'a removed file is forgotten',
    file: 'save.ts',
    find: "left: { ref, files: leftFiles(record, definition.keepsFiles === 'always') }",
    replace: 'left: null',
  },
  {
    name: 'a delete job does not look at the row',
    file: 'delete.ts',
    find: 'const record = await ports.rows.read({ entity, id, attachment })',
    replace: 'const record = null',
  },
  {
    name: 'a delete job leaves the staged file',
    file: 'delete.ts',
    find: 'if (staged.length > 0) await staging.delete(staged)',
    replace: 'if (staged.length > 1) await staging.delete(staged)',
  },
  {
    name: 'deletes are not written down',
    file: 'notes.ts',
    find: 'const written = Promise.all(jobs.map((job) => writeNote(job, staging)))',
    replace: 'const written = Promise.resolve()',
  },
  {
    name: 'a note is struck out while a job may still be writing',
    file: 'delete.ts',
    find: 'if (over || !open.some(({ unfinished }) => unfinished)) await',
    replace: 'if (over || open) await',
  },
  {
    name: 'a note is never struck out',
    file: 'notes.ts',
    find: 'if (note) await staging.delete([note])',
    replace: 'if (note === "") await staging.delete([note])',
  },
  {
    name: 'lost jobs are not looked for',
    file: 'requeue.ts',
    find: 'if (isNew(row.record.version) && (await claim(row))) claimed++',
    replace: 'if (row.record.error && (await claim(row))) claimed++',
  },
  {
    name: 'notes are not looked for',
    file: 'requeue.ts',
    find: 'for await (const job of lostDeletes(before, staging)) {',
    replace: 'for await (const job of lostDeletes(new Date(0), staging)) {',
  },
  {
    name: 'the sweep deletes what rows refer to',
    file: 'sweep.ts',
    find: 'keys.filter((key) => !kept.has(key))',
    replace: 'kept && keys.filter(() => true)',
  },
  {
    name: 'the sweep deletes what is young',
    file: 'sweep.ts',
    find: 'if (modified <= before) yield key',
    replace: 'if (modified) yield key',
  },
  {
    name: 'the sweep leaves what nobody saved',
    file: 'sweep.ts',
    find: 'if (left.length > 0) await staging.delete(left)',
    replace: 'if (left.length > 5) await staging.delete(left)',
  },
  {
    name: 'a retry changes nothing',
    file: 'retry.ts',
    find: 'if (!(await change(ref, record, again, ports))) return null',
    replace: 'if (record) return null',
  },
  {
    name: 'a reprocess does not look whether the file was replaced',
    file: 'retry.ts',
    find: 'return rows.update(ref, { version, processing: false }',
    replace:
      'return rows.read(ref).then((now) => rows.update(ref, { version: now?.version ?? version, processing: now?.processing ?? false }, { version: to.version, processing, error, attemptedAt, meta }))\n  void rows.update(ref, { version, processing: false }',
  },
  {
    name: 'styles that were made anew are shown before they are there',
    file: 'plan.ts',
    find: 'styles,\n      next: { ...kept, ...withKeys(place, fresh, anew) },',
    replace: 'styles: { ...styles, ...withKeys(place, fresh, anew) },',
  },
  {
    name: 'what was replaced is shown no more',
    file: 'plan.ts',
    find: 'const shown = before && definition.showsPrevious ? shownOf(before) : undefined',
    replace: 'const shown: ReturnType<typeof shownOf> = undefined',
  },
  {
    name: 'of several that were replaced, one is shown that was never ready',
    file: 'plan.ts',
    find: 'shownOf(before) : undefined',
    replace: 'shownOf({ ...before, meta: { ...before.meta, shown: undefined } }) : undefined',
  },
  {
    name: 'what was replaced is deleted while it is shown',
    file: 'process.ts',
    find: 'previous = [], shown: _, ...meta }: Meta',
    replace: 'previous = [], ...meta }: Meta',
  },
  {
    name: 'what was replaced is shown for ever, where it is kept',
    file: 'process.ts',
    find: 'const { previous = [], shown: _, begun',
    replace: 'const { previous = [], begun',
  },
  {
    name: 'what a picture looks like is recorded in place of its styles',
    file: 'looks.ts',
    find: 'row.change(({ meta }) => ({ meta: add(meta) }))',
    replace: 'row.change(({ meta }) => ({ meta: add({ ...meta, styles: {} }) }))',
  },
]
