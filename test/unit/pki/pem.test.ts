import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromBase64, fromPem, toPem } from '#pki/pem.ts'

const detail = (text: string): string => {
  try {
    return `${fromPem(text, 'THING').length} found`
  } catch (error) {
    return (error as { detail: string }).detail
  }
}
const block = (body: string, label = 'THING'): string =>
  `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`

describe('fromPem', () => {
  test.each<[string, string, string]>([
    ['one block', block('AAEC'), '1 found'],
    ['text around it', `subject=/CN=x\n${block('AAEC')}bye\n`, '1 found'],
    ['carriage returns', block('AAEC').replaceAll('\n', '\r\n'), '1 found'],
    ['spaces at line ends', block('AAEC  '), '1 found'],
    ['a block of another label beside it', block('AAEC', 'OTHER') + block('AAEC'), '1 found'],
    ['several', block('AAEC').repeat(3), '3 found'],
    ['nothing', '', 'PEM: no THING block'],
    ['another label only', block('AAEC', 'OTHER'), 'PEM: no THING block'],
    ['an empty block', block(''), 'PEM THING: not base64'],
    ['missing padding', block('AAE'), 'PEM THING: not base64'],
    ['stray bits after the padding', block('AAF='), 'PEM THING: not base64'],
    ['padding in the middle', block('AA==AAEC'), 'PEM THING: not base64'],
    ['no end', '-----BEGIN THING-----\nAAEC\n', 'PEM: no THING block'],
    ['labels that differ', block('AAEC').replace('END THING', 'END OTHER'), 'PEM: no THING block'],
    ['characters that are not base64', block('AA*C'), 'PEM: no THING block'],
    ['old-style headers', block('Proc-Type: 4,ENCRYPTED\n\nAAEC'), 'PEM: no THING block'],
    ['more than 100 blocks', block('AAEC').repeat(101), 'PEM: more than 100 blocks'],
    ['a megabyte', ' '.repeat(1_048_577), 'PEM: longer than 1048576 characters'],
    ['a megabyte of beginnings', '-----BEGIN THING-----\n'.repeat(47_000), 'PEM: no THING block'],
  ])('%s → %s', (_, text, expected) => {
    expect(detail(text)).toBe(expected)
  })

  test('what is written is read, in lines of 64', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 400 }), (octets) => {
        const text = toPem('THING', octets)
        expect(fromPem(text, 'THING')).toEqual([Buffer.from(octets)])
        expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(64)
      }),
    )
  })
})

test.each<[string, string | undefined]>([
  ['AAEC', '000102'],
  ['A A\nE\tC\r\n', '000102'],
  ['', ''],
  ['AAE', undefined],
  ['AA-_', undefined],
  ['AAEC!', undefined],
])('base64 %j → %s', (text, expected) => {
  expect(fromBase64(text)?.toString('hex')).toBe(expected)
})
