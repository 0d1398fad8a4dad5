/** `anchor put` and `rm`: what they ask, under which condition, and what they print. The API is a stand-in with one thing in it, or none. */

import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { run } from '#cli/run.ts'
import { PROBLEM_TYPE } from '#wire/problems.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { fakeIo, type FakeIo } from './fake-io.ts'

type Asked = { readonly asked: string; readonly condition: string | undefined; readonly body?: unknown }
type Ran = { readonly code: number; readonly io: FakeIo; readonly asked: readonly Asked[] }

/** @param stored what GET finds, with the ETag "3"; @param refusal what changes are answered with, if they are not let through */
const runWith = async (args: string, stored: object | undefined, refusal?: string): Promise<Ran> => {
  using home = temporaryFolder()
  mkdirSync(join(home.path, 'certs/private'), { recursive: true })
  writeFileSync(join(home.path, 'certs/private/operator.token'), `spo1.${'a'.repeat(16)}.${'b'.repeat(43)}`, {
    mode: 0o600,
  })
  writeFileSync(join(home.path, 'new.pem'), 'NEW')
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk) => (text += chunk))
    request.on('end', () => {
      const { method, url, headers } = request
      const body = text === '' ? undefined : (JSON.parse(text) as object)
      const condition = headers['if-match'] ?? headers['if-none-match']
      asked.push({ asked: `${method} ${url}`, condition, ...(body === undefined ? {} : { body }) })
      const reason = method === 'GET' ? (stored === undefined ? 'not_found' : undefined) : refusal
      if (reason !== undefined) {
        response.writeHead(reason === 'not_found' ? 404 : 412, { 'content-type': PROBLEM_TYPE })
        response.end(JSON.stringify({ type: 'x', title: reason, status: 412, reason, request_id: 'r' }))
      } else if (method === 'DELETE') response.writeHead(204).end()
      else {
        response.setHeader('etag', '"3"')
        response.end(JSON.stringify(method === 'GET' ? stored : { name: 'fleet', ...body, notes: ['mind'] }))
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const env = { SALLYPORT_HOME: home.path, SALLYPORT_ENROLL_OPERATOR_URL: url }
  const io = fakeIo({ env, cwd: home.path })
  try {
    return { code: await run(args.split(' '), io), io, asked }
  } finally {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
}

const fleet = { name: 'fleet', pem: 'OLD', hostnames: ['a.test'], crl: { urls: [], on_stale: 'fail_open' } }

describe('anchor put', () => {
  test.each<readonly [string, string, object | undefined, string | undefined, object]>([
    [
      'one that there is not',
      '--pem new.pem --hostname a.test --hostname b.test',
      undefined,
      '*',
      { pem: 'NEW', hostnames: ['a.test', 'b.test'] },
    ],
    [
      'another PEM: hostnames and crl stay',
      '--pem new.pem',
      fleet,
      '"3"',
      { pem: 'NEW', hostnames: ['a.test'], crl: fleet.crl },
    ],
    [
      'other hostnames: PEM and crl stay',
      '--hostname b.test',
      fleet,
      '"3"',
      { pem: 'OLD', hostnames: ['b.test'], crl: fleet.crl },
    ],
  ])('%s', async (_, options, stored, condition, body) => {
    const { code, io, asked } = await runWith(`anchor put fleet ${options}`, stored)
    expect([code, io.stderr()]).toEqual([0, ''])
    expect(asked).toEqual([
      { asked: 'GET /v1/anchors/fleet', condition: undefined },
      { asked: 'PUT /v1/anchors/fleet', condition, body },
    ])
    expect(io.stdout()).toMatch(/^anchor fleet is in place: [ab]\.test.*\nnote: mind\n$/)
  })

  test.each(['--pem new.pem', '--hostname a.test'])(
    'of one that there is not, with %s alone',
    async (half) => {
      const { code, io, asked } = await runWith(`anchor put fleet ${half}`, undefined)
      expect([code, asked.length]).toEqual([2, 1])
      expect(io.stderr()).toMatch(/no anchor fleet yet: give its --pem and at least one --hostname/)
    },
  )

  test('of one that another operator changed meanwhile', async () => {
    const { code, io } = await runWith('anchor put fleet --pem new.pem', fleet, 'precondition_failed')
    expect([code, io.stdout()]).toEqual([1, ''])
  })
})

describe('rm', () => {
  test.each([
    ['anchor', 'anchors', 'anchor'],
    ['app', 'applications', 'application'],
    ['policy', 'policies', 'policy'],
    ['rule-group', 'rule-groups', 'rule group'],
    ['group', 'groups', 'group'],
  ])('of an %s', async (word, path, called) => {
    const human = await runWith(`${word} rm fleet`, fleet)
    expect([human.code, human.io.stdout()]).toEqual([0, `${called} fleet is removed\n`])
    expect(human.asked).toEqual([
      { asked: `GET /v1/${path}/fleet`, condition: undefined },
      { asked: `DELETE /v1/${path}/fleet`, condition: '"3"' },
    ])
    const json = await runWith(`${word} rm fleet --json`, fleet)
    expect(JSON.parse(json.io.stdout())).toEqual(fleet)
  })

  test('of one that there is not: nothing is asked to be removed', async () => {
    const { code, io, asked } = await runWith('anchor rm fleet', undefined)
    expect([code, asked.length]).toEqual([1, 1])
    expect(io.stderr()).toMatch(/no such anchor: fleet/)
  })

  test('of one that another operator changed meanwhile', async () => {
    const { code, io } = await runWith('policy rm fleet', fleet, 'precondition_failed')
    expect([code, io.stdout()]).toEqual([1, ''])
  })
})
