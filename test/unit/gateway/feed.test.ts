import { describe, expect, test } from 'vitest'
import { startFeed } from '#gateway/feed.ts'
import type { Change, Changes } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'

type Step = Changes | Error
const access: Change = { kind: 'access' }

/** A registry that answers from a script, then with nothing new; `done` when the script has been read to its end and once more. */
const scripted = (steps: readonly Step[]) => {
  const asked: string[] = []
  let finish: () => void
  const done = new Promise<void>((resolve) => {
    finish = resolve
  })
  return {
    asked,
    done,
    registry: {
      changesSince: async (cursor: string): Promise<Changes> => {
        asked.push(cursor)
        const step = steps[asked.length - 1]
        if (asked.length > steps.length + 1) finish()
        if (step instanceof Error) throw step
        return step ?? { changes: [], cursor }
      },
    },
  }
}

const follow = async (steps: readonly Step[], onChanges?: (changes: readonly Change[]) => void) => {
  const { asked, done, registry } = scripted(steps)
  const lines: { level: string; msg: string }[] = []
  const log = createLog('gateway', 'debug', {
    write: (line) => void lines.push(JSON.parse(line) as { level: string; msg: string }),
  })
  const told: (readonly Change[])[] = []
  const feed = startFeed({
    registry,
    cursor: 'c0',
    log,
    every: 1,
    onChanges: (changes) => {
      told.push(changes)
      onChanges?.(changes)
    },
  })
  await done
  await feed[Symbol.asyncDispose]()
  return { asked, told, epoch: feed.epoch(), works: feed.works(), lines }
}

describe('the feed', () => {
  test('goes on from where it was, and tells what it read', async () => {
    const { asked, told, epoch } = await follow([
      { changes: [access], cursor: 'c1' },
      { changes: [], cursor: 'c1' },
      { changes: [access, access], cursor: 'c3' },
    ])
    expect(asked.slice(0, 4)).toEqual(['c0', 'c1', 'c1', 'c3'])
    expect(told).toEqual([[access], [access, access]])
    expect(epoch).toBe(2)
  })
  test('nothing new: the epoch stays', async () => {
    expect(await follow([])).toMatchObject({ epoch: 0, works: true })
  })
  test('fails closed: each failure is a new epoch; recovers by itself; one line each way', async () => {
    const { asked, told, epoch, lines, works } = await follow([
      new Error('locked'),
      new Error('locked'),
      { changes: [access], cursor: 'c1' },
    ])
    expect(asked.slice(0, 4)).toEqual(['c0', 'c0', 'c0', 'c1'])
    expect(told).toEqual([[access]])
    expect(epoch).toBe(3)
    expect(works).toBe(true)
    expect(lines.map(({ level }) => level)).toEqual(['error', 'info'])
  })
  test('what could not be applied is told again', async () => {
    let tries = 0
    const { asked, told } = await follow(
      [
        { changes: [access], cursor: 'c1' },
        { changes: [access], cursor: 'c1' },
      ],
      () => {
        tries += 1
        if (tries === 1) throw new Error('no issuers now')
      },
    )
    expect(asked.slice(0, 3)).toEqual(['c0', 'c0', 'c1'])
    expect(told).toHaveLength(2)
  })
})
