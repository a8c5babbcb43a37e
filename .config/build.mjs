import { execFileSync } from 'node:child_process'
import { readFileSync, renameSync, rmSync } from 'node:fs'
import { build } from 'rolldown'
import license from 'rollup-plugin-license'

rmSync('dist', { recursive: true, force: true })
for (const folder of ['src', 'src/client']) {
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', folder], { stdio: 'inherit' })
}
// what is an ES module has types that say so
renameSync('dist/client/client.d.ts', 'dist/client/client.d.mts')

const { dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
const installed = Object.keys({ ...dependencies, ...peerDependencies })

const source = {
  platform: 'node',
  external: [/^node:/, ...installed.map((name) => new RegExp(`^${name}(/|$)`))],
  tsconfig: 'tsconfig.json',
}

// file-type's parts load `debug`, which reads the environment and prints: nothing a library should bring along
const withoutDebug = {
  name: 'without-debug',
  resolveId: (id) => (id === 'debug' ? '\0debug' : null),
  load: (id) => (id === '\0debug' ? 'export default () => () => undefined' : null),
}

// A package that says its licence and does not bring the text
const mit = readFileSync('LICENSE', 'utf8')
const texts = { thumbhash: mit.replace(/^Copyright .*$/m, 'Copyright (c) 2023 Evan Wallace') }

function licencesOf(dependencies) {
  for (const dependency of dependencies) {
    dependency.licenseText ??= texts[dependency.name]
    if (!dependency.licenseText)
      throw new Error(`${dependency.name} is taken in, and nobody knows the text of its licence: add it to .config/build.mjs`)
  }
  return dependencies.map((dependency) => dependency.text()).join('\n\n---\n\n')
}

// One CommonJS build, which `import` reads as well as `require`: two builds would be two copies of every class.
// What is published as an ES module only (file-type, thumbhash) is taken in, because Jest cannot load such packages.
await build({
  ...source,
  input: {
    index: 'src/index.ts',
    bullmq: 'src/background/bullmq.ts',
    graphile: 'src/background/graphile.ts',
    s3: 'src/storage/s3.ts',
    sqs: 'src/background/sqs.ts',
    testing: 'src/testing/testing.ts',
    'testing-child': 'src/testing/testing-child.ts',
  },
  plugins: [withoutDebug, license({ thirdParty: { output: { file: 'dist/THIRD-PARTY-LICENSES.txt', template: licencesOf } } })],
  output: {
    dir: 'dist',
    format: 'cjs',
    entryFileNames: '[name].js',
    chunkFileNames: 'shared/[name].js',
    sourcemap: true,
    dynamicImportInCjs: false,
  },
})

// The command loads the user's module by import(), which may be an ES module. It is apart, because it has no class in common
// with the library: what it loads may be another copy.
await build({
  ...source,
  input: { cli: 'src/cli/main.ts' },
  output: { dir: 'dist', format: 'cjs', entryFileNames: '[name].js', sourcemap: true },
})

// For browsers, as it is: a page without a build step loads this file.
await build({
  platform: 'browser',
  tsconfig: 'src/client/tsconfig.json',
  input: { client: 'src/client/client.ts' },
  output: { dir: 'dist', format: 'es', entryFileNames: '[name].mjs', minify: true },
})
