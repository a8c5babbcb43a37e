import { element } from '/element.mjs'

const words = { awaiting: 'on its way', processing: 'processing', processed: 'ready', failed: 'failed', removed: 'removed' }

/** A file in the list. Its item stays the same whatever happens to the file, so that nothing moves and no focus is lost. */
export class Tile {
  #state
  #shown
  #picture = element('a', { className: 'picture' })
  #words = element('span', { className: 'words' })
  #bar = element('progress')
  #doing = element('div', { className: 'doing' }, this.#words, this.#bar)
  #name = element('span', { className: 'name' })
  #problem = element('span', { className: 'problem' })
  // until it is known what it is
  item = element('li', { hidden: true }, element('div', { className: 'frame' }, this.#picture, this.#doing), this.#name, this.#problem)

  /** Whether nothing more is to come. */
  get isFinished() {
    return ['processed', 'failed', 'removed'].includes(this.#state)
  }

  /** Gives what is to be said, if it is news. */
  show({ state, progress, file }) {
    const before = this.#state
    this.#state = state
    if (file) this.#showFile(file)
    this.item.dataset.state = state
    this.item.hidden = state === 'removed'
    this.#words.textContent = words[state]
    this.#doing.hidden = state === 'processed'
    // its upload has a bar of its own
    this.#bar.hidden = state !== 'processing'
    if (progress) Object.assign(this.#bar, { max: progress.of, value: progress.done })
    if (state === 'removed' || before === undefined || before === state) return undefined
    return `${this.#name.textContent}: ${words[state]}`
  }

  #showFile({ name, ratio, picture, larger, problem = '' }) {
    // a panorama is cut at its ends
    this.item.style.setProperty('--ratio', Math.min(2.4, Math.max(0.6, ratio)))
    this.#name.textContent = name
    this.#name.title = name
    this.#bar.ariaLabel = `${name}: processing`
    this.#problem.textContent = problem
    const isReady = this.#state === 'processed'
    if (isReady) this.#picture.href = larger
    // what is there already is not loaded again
    if (picture !== this.#shown) this.#picture.innerHTML = picture
    this.#shown = picture
    // the page of a text was made outside: nobody has measured it
    if (isReady && picture === '') this.#picture.replaceChildren(element('img', { alt: name, src: larger }))
  }
}
