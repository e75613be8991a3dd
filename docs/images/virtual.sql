-- One row per pattern and design out of docs/images/virtual.ini: cycles against native's, walks, and where the cycles went.
create temp view m as select point, name, value from metrics;
create temp view design as
  select id, substr(json_extract(key_values, '$."guest.append"'), instr(json_extract(key_values, '$."guest.append"'), 'memwork') + 8) as what,
         json_extract(key_values, '$."mmu.model"') as model, json_extract(key_values, '$."host.page_size"') as page
  from points where status = 'done';
create temp view figures as
  select d.*, (select value from m where point = id and name = 'instructions') as instructions,
         (select value from m where point = id and name = 'cycles') as cycles,
         (select value from m where point = id and name = 'walk.count') as walks,
         (select value from m where point = id and name = 'walk.reads') as reads,
         (select sum(value) from m where point = id and name in ('cycles.tlb', 'cycles.pwc', 'cycles.walk_read', 'cycles.host_read',
                                                                 'cycles.nested_tlb', 'cycles.walk_update')) as translation,
         (select sum(value) from m where point = id and name in ('cycles.exit', 'cycles.vmm', 'cycles.backing', 'cycles.world')) as hypervisor,
         (select sum(value) from m where point = id and name like 'vmm.exits.%') as exits
  from design d;
select replace(what, '"', '') as pattern, model || case model when 'native' then '' else ', ' || page end as design,
       round(1.0 * cycles / (select cycles from figures n where n.what = f.what and n.model = 'native'), 3) as "cycles/native's",
       round(walks * 1000.0 / instructions, 2) as "walks/1000",
       case when walks > 0 then round(1.0 * reads / walks, 2) end as "reads/walk",
       round(translation * 1000.0 / instructions, 1) as "translation/1000", round(hypervisor * 1000.0 / instructions, 1) as "hypervisor/1000",
       cast(exits as int) as exits
from figures f order by what, id;
