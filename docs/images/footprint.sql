-- Reads per walk and cycles of translation per thousand instructions out of docs/images/footprint.ini, a row a footprint.
create temp view f as
  select id, cast(substr(json_extract(key_values, '$."guest.append"'), instr(json_extract(key_values, '$."guest.append"'), 'gups ') + 5, 4) as int) as mib,
         json_extract(key_values, '$."mmu.model"') || json_extract(key_values, '$."host.page_size"') as design,
         (select value from metrics where point = id and name = 'walk.reads') * 1.0 / (select value from metrics where point = id and name = 'walk.count') as reads,
         (select sum(value) from metrics where point = id and name in ('cycles.tlb', 'cycles.pwc', 'cycles.walk_read', 'cycles.host_read',
                                                                       'cycles.nested_tlb', 'cycles.walk_update')) * 1.0 /
         (select value from metrics where point = id and name = 'walk.count') as cycles
  from points where status = 'done';
select mib || ' MiB' as footprint,
       round(max(case when design = 'native4K' then reads end), 2) as "native: reads", round(max(case when design = 'native4K' then cycles end), 1) as "cycles",
       round(max(case when design = 'nested4K' then reads end), 2) as "nested, 4K: reads", round(max(case when design = 'nested4K' then cycles end), 1) as "cycles",
       round(max(case when design = 'nested2M' then reads end), 2) as "nested, 2M: reads", round(max(case when design = 'nested2M' then cycles end), 1) as "cycles"
from f group by mib order by mib;
