-- Which numbers stand on a CRL that was signed: what has expired is kept until it has been on one. Those of before are taken for signed.
alter table crl_numbers add column signed integer not null default 1 check (signed = 0 or signed = 1);
