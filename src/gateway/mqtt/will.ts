/**
 * The topics of a will, judged: at CONNECT, whenever something has changed while its client is connected, and when the door would let it go out. Not
 * what becomes of one that may not.
 */

import { isOwnTopic } from '#wire/topics.ts'
import type { Will } from './connect-packet.ts'
import type { TopicVerdict, Verdicts } from './verdicts.ts'

export type WillTopics = Pick<Will, 'topic' | 'responseTopic'>

/** What is kept of a will: not its payload. */
export const topicsOf = ({ topic, responseTopic }: WillTopics): WillTopics =>
  responseTopic === undefined ? { topic } : { topic, responseTopic }

/**
 * May it be published, and may whoever answers it be made to write to its Response Topic?
 * @param will undefined: there is none, and it is allowed
 */
export const judgeWill = (
  verdicts: Pick<Verdicts, 'will' | 'topic' | 'refused'>,
  will: WillTopics | undefined,
): TopicVerdict => {
  if (will === undefined) return 'allowed'
  const { topic, responseTopic } = will
  if ([topic, responseTopic ?? ''].some(isOwnTopic)) {
    verdicts.refused('publish', topic, 'topic_denied')
    return 'topic_denied'
  }
  const verdict = verdicts.will(topic)
  if (verdict !== 'allowed' || responseTopic === undefined) return verdict
  const response = Buffer.from(responseTopic)
  return verdicts.topic('receive', response, 0, response.length)
}
