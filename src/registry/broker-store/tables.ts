/** The tables of the embedded broker's file, and the statement of each verb. Not the registry's migrations: this file is the gateway's own. */

import type { Database } from 'better-sqlite3'
import type { BatchVerb, StoredBroker } from './store.ts'

/** `user_version` by which SQLite knows our file; one more for each entry of {@link MIGRATIONS}. */
export const MIGRATIONS: readonly string[] = [
  `create table sessions (
     number integer primary key, client_id text not null unique, away_since integer, sent_up_to integer not null
   ) strict;
   create table subscriptions (
     session integer not null, filter text not null, qos integer not null check (qos between 0 and 2), primary key (session, filter)
   ) strict, without rowid;
   create table messages (number integer primary key, topic text not null, payload blob not null) strict;
   create table queued (
     session integer not null, number integer not null, qos integer not null check (qos between 1 and 2),
     packet_id integer not null check (packet_id between 1 and 65535), released integer not null, retain integer not null,
     primary key (session, number)
   ) strict, without rowid;
   create table retained (
     topic text primary key, payload blob not null, qos integer not null check (qos between 0 and 2), owner text not null
   ) strict, without rowid;
   create table incoming (session integer not null, packet_id integer not null, primary key (session, packet_id)) strict, without rowid;`,
]

/** `columns`: of a row in a batch; the one that holds a payload, if any, is `payload`. */
export type VerbStatement = {
  readonly sql: readonly string[]
  readonly columns: number
  readonly payload?: number
}

export const STATEMENTS: Readonly<Record<BatchVerb, VerbStatement>> = {
  endSession: {
    sql: ['incoming', 'queued', 'subscriptions']
      .map((table) => `delete from ${table} where session = ?`)
      .concat('delete from sessions where number = ?'),
    columns: 1,
  },
  dropSubscription: { sql: ['delete from subscriptions where session = ? and filter = ?'], columns: 2 },
  dropQueued: { sql: ['delete from queued where session = ? and number = ?'], columns: 2 },
  dropMessage: { sql: ['delete from messages where number = ?'], columns: 1 },
  dropRetained: { sql: ['delete from retained where topic = ?'], columns: 1 },
  dropIncoming: { sql: ['delete from incoming where session = ? and packet_id = ?'], columns: 2 },
  putSession: { sql: ['insert or replace into sessions values (?, ?, ?, ?)'], columns: 4 },
  putSubscription: { sql: ['insert or replace into subscriptions values (?, ?, ?)'], columns: 3 },
  putMessage: { sql: ['insert or replace into messages values (?, ?, ?)'], columns: 3, payload: 2 },
  putQueued: { sql: ['insert or replace into queued values (?, ?, ?, ?, ?, ?)'], columns: 6 },
  putRetained: { sql: ['insert or replace into retained values (?, ?, ?, ?)'], columns: 4, payload: 1 },
  putIncoming: { sql: ['insert or replace into incoming values (?, ?)'], columns: 2 },
}

const READS: Readonly<Record<keyof StoredBroker, string>> = {
  sessions:
    'select number, client_id as clientId, away_since as awaySince, sent_up_to as sentUpTo from sessions',
  subscriptions: 'select session, filter, qos from subscriptions',
  messages: 'select number, topic, payload from messages',
  queued:
    'select session, number, qos, packet_id as packetId, released, retain from queued order by session, number',
  retained: 'select topic, payload, qos, owner from retained',
  incoming: 'select session, packet_id as packetId from incoming',
}

/** To be gone through one after the other: a handle has one statement under way. */
export const readAll = (database: Database): StoredBroker => {
  const rows = Object.entries(READS).map(([name, sql]) => [
    name,
    { [Symbol.iterator]: () => database.prepare(sql).iterate() },
  ])
  return Object.fromEntries(rows) as StoredBroker
}
