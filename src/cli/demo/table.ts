/** The demo's figures for a person: the same as the line, one to a row. */

import { byFrequency } from '#device-sim/index.ts'
import { pairs } from '../output.ts'
import type { DemoLine } from './line.ts'

const counted = (refused: Readonly<Record<string, number>>): string =>
  byFrequency(refused)
    .map(([reason, count]) => `${reason} ${count}`)
    .join(', ') || 'none'

export const tableOf = (line: DemoLine, seconds: number): readonly string[] => {
  const { https, mqtt, expectations } = line
  return [
    ...pairs([
      ['devices enrolled', String(line.enrolled)],
      ['https admitted', String(https.admitted)],
      ['https refused', counted(https.refused)],
      ['mqtt connected', `${mqtt.connected}, published ${mqtt.published}, delivered ${mqtt.delivered}`],
      ['mqtt refused', counted(mqtt.refused)],
      ['full handshakes', `${line.handshakes}, resumed ${line.resumed}`],
      ['tokens returned', String(line.tokens_returned)],
      ['revoked, then admitted', String(line.revoked_then_admitted)],
      ['expectations', `${expectations.passed} held, ${expectations.failed.length} failed`],
      ['seconds', seconds.toFixed(1)],
    ]),
    ...expectations.failed.map((name) => `FAILED ${name}`),
  ]
}
