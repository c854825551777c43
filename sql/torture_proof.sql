-- torture_proof: the nonce of the run that signed this database.
--   no parameters
--   returns text
--   called by: torture/stage
select s.value #>> '{}' from actiond.setting s where s.name = 'torture_nonce'
