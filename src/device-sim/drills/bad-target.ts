/** Request targets that two parsers could read differently: none of them is passed on, whoever asks. */

import type { Drill } from './drill.ts'
import { requestText, sayRaw, wasTurnedAway, wordOfRaw } from './raw.ts'

/** By what is wrong with it. `{}` stands for a path of the drill's own. */
const TARGETS: Readonly<Record<string, string>> = {
  dot_segment: '{}/../admin',
  dot_segment_encoded: '{}/%2e%2e/admin',
  dot_segment_half_encoded: '{}/.%2e/admin',
  dot_segment_with_parameter: '{}/..;x/admin',
  dot_segment_behind_slash: '{}/x%2f..%2fadmin',
  backslash: '{}\\admin',
  backslash_encoded: '{}%5cadmin',
  two_slashes: '{}//admin',
  nul: '{}%00',
  line_feed: '{}%0a',
  encoded_twice: '{}%252e',
  half_an_escape: '{}%2',
  no_escape: '{}%zz',
  fragment: '{}#x',
  not_utf8: '{}%c3%28',
  another_authority: 'https://elsewhere.test{}',
  asterisk: '*',
  too_long: `{}/${'x'.repeat(9_000)}`,
}

export const badTarget: Drill = {
  name: 'bad_target',
  needs: [],
  async run(stage) {
    const device = await stage.enroll('bad-target')
    const url = stage.targets.https
    const { host } = new URL(url)
    const context = stage.contextOf(device)
    const tryOne = async ([what, pattern]: readonly [string, string]): Promise<void> => {
      const target = pattern.replace('{}', stage.target('bad_target'))
      const asking = { url, context, alpn: ['http/1.1'], what: `bad target ${what}` }
      const answer = await sayRaw(stage, asking, requestText(target, host))
      stage.ledger.refused('https', wordOfRaw(answer))
      const wrong = wasTurnedAway('bad_target', answer)
      stage.expectations.check(`bad_target.${what}`, wrong === undefined, wrong ?? '')
    }
    await Promise.all(Object.entries(TARGETS).map(tryOne))
  },
}
