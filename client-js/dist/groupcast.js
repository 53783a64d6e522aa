// Groupcast client 0.1.0, MIT OR Apache-2.0. Built from client-js/src; do not edit.
var l=class{#e;attempt=0;constructor(t){this.#e={min:250,base:1e3,max:2e4,stableAfter:1e4,...t}}next(t,e=0){let{min:s,base:i,max:n}=this.#e,r=Math.min(n,i*2**this.
attempt),c=Math.max(e,this.attempt===0?t??r:r);return this.attempt+=1,Math.round(s+Math.random()*c)}ended(t){let e=t>=this.#e.stableAfter;return e&&(this.attempt=
0),e}reset(){this.attempt=0}};function m(){let o={};return o.promise=new Promise((t,e)=>Object.assign(o,{resolve:t,reject:e})),o.promise.catch(()=>{}),o}var h=class o extends Error{constructor(t,e,s=!1){super(e),this.name="GroupcastError",this.code=t,this.retry=s}static from({code:t,message:e,retry:s}){return new o(
t,e,s)}},a=class extends h{constructor(t="not signed in"){super("unauthorized",t),this.name="UnauthorizedError"}};var N="groupcast.v1.json",I="groupcast-js/0.1.0";var $=[1003,1007,1008,1009];function R(o){return!(o>=4400&&o<4500)&&!$.includes(o)}function L(o){try{let{reason:t,retry_ms:e}=JSON.parse(o);return{reason:typeof t==
"string"?t:o,retryMs:Number.isFinite(e)&&e>=0?e:void 0}}catch{return{reason:o,retryMs:void 0}}}var q=new TextEncoder;function u(o){return q.encode(o).length}function z(o,t){
let e=t-64,s=[],i=1/0;for(let n of o){let r=u(JSON.stringify(n))+1;(i+r>e||s.at(-1).length===1024)&&(s.push([]),i=0),s.at(-1).push(n),i+=r}return s}function D(o){
let t=new URL(o,globalThis.location?.href);return t.protocol=t.protocol.replace(/^http/,"ws"),t.hash="",t.href}var G=2**31-1,M=()=>5e3+Math.random()*1e4,p=class{#e;#i;#t;constructor(t,e){this.#e=t,this.#i=e}accepted(t){this.#s(this.#e.accepted(t))}stop(){clearTimeout(this.#t)}async now(){
if(!this.#e.renewable){let e="the token runs out and there is no getToken; call setToken";return this.#i.report(new h("unauthorized",e))}let t=this.#i.session();
try{let e=await this.#e.renew("expiring");this.#i.session()===t&&this.#i.live()&&this.present(e)}catch(e){if(this.#i.session()!==t)return;if(e instanceof a)return this.#i.
signedOut(e);this.#s(M()),this.#i.report(e)}}present(t){this.#i.ask({type:"auth",token:t},e=>{e.type==="error"?this.#i.report(h.from(e)):this.accepted(e.expires_in)})}#s(t){
clearTimeout(this.#t),!(t===void 0||!this.#e.renewable)&&(this.#t=setTimeout(()=>this.now(),Math.min(t,G)))}};var W=2500,w=class{#e;#i;#t;#s;#n=0;#r;welcome=null;constructor(t,e,s,i,n){let r=new t(e,N);this.#e=r,this.#i=n,this.#s=Date.now()+i,this.#a(),r.onopen=()=>this.
send(s()),r.onmessage=({data:c})=>this.#h(c),r.onclose=({code:c,reason:d})=>this.#u(c,d),r.onerror=()=>{}}send(t){return!this.check()||this.#e.readyState!==1?!1:
(this.#e.send(typeof t=="string"?t:JSON.stringify(t)),!0)}check(){return this.#i?Date.now()<=this.#s?!0:(this.#u(1006,"no frame arrived for too long",!0),!1):!1}probe(){
!this.check()||!this.welcome||Date.now()-this.#n<=this.welcome.ping_ms||(this.#s=Math.min(this.#s,Date.now()+W),this.#a())}end(t=1e3){this.#c();try{this.#e.close(
t)}catch{this.#e.close()}}#h(t){if(!this.#i)return;let e=Date.now();this.#n=e,this.welcome&&(this.#s=e+this.welcome.ping_ms+1e4);let s;try{s=JSON.parse(t)}catch{
return}typeof s?.type=="string"&&(s.type==="ping"?this.send({type:"pong"}):this.welcome?this.#i.frame(s):s.type==="welcome"&&this.#o(s,e))}#o(t,e){this.welcome=
t,this.#r=e,this.#s=e+t.ping_ms+1e4,this.#a(),this.#i.welcome(t)}#a(){clearTimeout(this.#t);let t=Math.max(0,this.#s-Date.now())+1;this.#t=setTimeout(()=>this.check()&&
this.#a(),t)}#c(){let t=this.#i;return this.#i=null,clearTimeout(this.#t),this.#e.onopen=this.#e.onmessage=this.#e.onclose=null,t}#u(t,e,s=!1){let i=this.#c();if(!i)
return;s&&this.#e.close();let n=this.#r===void 0?0:Date.now()-this.#r;i.lost({code:t,...L(e),silent:s,uptimeMs:n})}};var J=1e4,y=class{#e;#i;#t=1/0;#s=null;#n=!1;#r="initial";constructor({token:t,getToken:e}){this.#i=t??void 0,this.#e=e}get renewable(){return typeof this.#e=="\
function"}get held(){return this.#i}async current(){return!this.renewable||this.#i&&Date.now()<this.#t?this.#i:this.renew(this.#i?"expiring":this.#r)}renew(t){return this.#s??=
this.#h(t),this.#s.promise}#h(t){let e=new AbortController,s={controller:e};return s.promise=this.#o(t,e).then(i=>(this.#s===s&&this.#a(i),i),i=>{throw this.#s===
s&&(this.#s=null),i}),s}async#o(t,e){let{signal:s}=e,i,n=new Promise((r,c)=>{s.addEventListener("abort",()=>c(s.reason)),i=setTimeout(()=>{e.abort(new h("timeou\
t","getToken took too long",!0))},J)});try{let r=await Promise.race([this.#e({reason:t,signal:s}),n]);if(!r)throw new a("getToken gave no token");return String(
r)}finally{clearTimeout(i)}}#a(t){this.#s=null,this.#i=t??void 0,this.#t=1/0,this.#r="expiring"}set(t){this.cancel(),this.#a(t),this.#n=!1}accepted(t){if(t===void 0){
this.#t=1/0;return}let e=t*1e3*(.8+(Math.random()-.5)*.16);return this.#t=Date.now()+e,e}refused(){return this.#i=void 0,this.#r="rejected",!this.renewable||this.#n?
!1:(this.#n=!0,!0)}stable(){this.#n=!1}cancel(){this.#s?.controller.abort(new h("closed","the client was closed")),this.#s=null}};function C(o){let{window:t,document:e}=globalThis;if(!t?.addEventListener||!e)return()=>{};let s=()=>{e.visibilityState!=="hidden"&&o()},i=[[t,"online"],[t,"pag\
eshow"],[e,"visibilitychange"],[e,"resume"]];for(let[n,r]of i)n.addEventListener(r,s);return()=>{for(let[n,r]of i)n.removeEventListener(r,s)}}var K=2e3,F=300,b=class{state="idle";#e;#i;#t;#s;#n;#r;#h;#o=null;#a;#c=0;#u=0;#l=new Map;#m;#p=-1/0;#w=()=>{};#f=null;constructor(t,e,s){this.#e=t,this.#i=e,this.#t=
e.WebSocket??globalThis.WebSocket,this.#s=s,this.#n=new y(e),this.#r=new p(this.#n,{session:()=>this.#o,live:()=>this.live(),ask:(i,n)=>this.ask(i,n),report:i=>s.
emit("error",i),signedOut:i=>this.#v(i)}),this.#h=new l(e.backoff)}get welcome(){return this.#o?.welcome}get maxBytes(){return this.welcome?.max_bytes??16384}live(){
return!!this.welcome&&this.#o.check()}send(t){return this.#o?.send(t)??!1}nextId(){return this.#u+=1}ask(t,e){let s=this.nextId();this.#l.set(s,e),this.send({...t,
id:s})}connect(){return this.state!=="idle"&&this.state!=="closed"?this.#f.promise:(this.#f=m(),this.#w=C(()=>this.wake()),this.#h.reset(),this.#n.stable(),this.#s.
starting(),this.#y(),this.#f.promise)}connectSoon(){if(this.state!=="idle"||!this.#t)return;let t=this.#c;queueMicrotask(()=>this.#c===t&&this.connect())}close(t){
this.#o?.end(t),this.#b(t,new h("closed","closed by the application"))}setToken(t){this.#n.set(t),t&&this.live()&&this.#r.present(t)}wake(){if(this.#o)return this.#o.
probe();let t=Date.now();this.state!=="waiting"||t-this.#p<K||(this.#p=t,this.#g(Math.random()*F))}#d(t){let e=this.state;return this.state=t,this.#c+=1,()=>e!==
t&&this.#s.emit("state",{state:t,previous:e})}#g(t){clearTimeout(this.#m),this.#m=setTimeout(()=>this.#y(),t)}async#y(){let t=this.#d("connecting"),e=this.#c;t();
let s;try{this.#c===e&&(s=await this.#n.current())}catch(i){this.#c===e&&this.#E(i);return}if(this.#c===e)try{this.#o=this.#k(s)}catch(i){this.#b(1006,i)}}#k(t){
let e=()=>this.#S();this.#a=t;let{connectTimeout:s}=this.#i;return new w(this.#t,D(this.#e),e,s,{welcome:i=>this.#M(i),frame:i=>this.#j(i),lost:i=>this.#_(i)})}#E(t){
if(t instanceof a)return this.#v(t);this.#T(M()),this.#s.emit("error",t)}#v(t){this.#o?.end(),this.#b(4401,t)}#S(){let t={type:"hello",token:this.#a,client:I},e=this.#s.
since(16384-u(JSON.stringify(t))-16);return Object.keys(e).length?{...t,since:e}:t}#M({expires_in:t,groups:e}){let s=this.#d("connected"),i=this.#c;this.#r.accepted(
t),this.#n.held!==this.#a&&this.setToken(this.#n.held);let n=this.#s.welcomed(e);this.#f.resolve(),s();for(let r of n)this.#c===i&&r()}#j(t){if(t.type==="auth_d\
ue")return this.#r.now();let e=this.#l.get(t.id);if(!e)return this.#s.received(t);this.#l.delete(t.id),e(t)}#_({code:t,reason:e,retryMs:s,silent:i,uptimeMs:n}){
let r=this.welcome?.retry_ms;if(this.#x(),this.#h.ended(n)&&this.#n.stable(),!(t===4401?this.#n.refused():R(t))){let S=t===4401?"unauthorized":"closed";return this.#b(
t,new h(S,e||`closed with ${t}`))}let d=s??(t===1006&&!i?r:void 0);this.#T(this.#h.next(d,s))}#x(){clearTimeout(this.#m),this.#r.stop(),this.#o=null,this.#l.clear(),
this.#s.lost()}#T(t){this.#g(t);let e=this.#d("waiting"),s=this.#c;if(e(),this.#c!==s)return;let i=new Date(Date.now()+t);this.#s.emit("waiting",{attempt:this.#h.
attempt,delay:t,at:i})}#b(t,e){this.state!=="closed"&&(this.#x(),this.#w(),this.#n.cancel(),this.#s.closed(e),this.#f?.reject(e),this.#d("closed")(),this.#s.emit(
"closed",{code:t,reason:e.message,error:e}))}};var k=class{#e;#i;constructor(t,e){this.#e=t,this.#i=e}get name(){return this.#e.name}get state(){return this.#e.state}get position(){return this.#e.position}get error(){
return this.#e.error}get ready(){return this.#e.ready}on(t,e,s){return this.#e.on(t,e,s)}send(t,e){return this.#i.send(this.name,t,e)}leave(){this.#i.leave(this.
name)}};var f=class{#e=new Map;on(t,e,{once:s=!1,signal:i}={}){if(typeof e!="function")throw new TypeError("a listener must be a function");if(i?.aborted)return()=>{};let n=this.#e.
get(t)??new Set;this.#e.set(t,n);let r={callback:e,once:s,remove:()=>{}},c=()=>{n.delete(r),i?.removeEventListener("abort",c)};return r.remove=c,n.add(r),i?.addEventListener(
"abort",c),c}emit(t,...e){for(let s of[...this.#e.get(t)??[]])s.once&&s.remove(),_(s.callback,...e)}clear(){for(let t of this.#e.values())for(let e of[...t])e.remove();
this.#e.clear()}get size(){let t=0;for(let e of this.#e.values())t+=e.size;return t}};function _(o,...t){try{o(...t)}catch(e){typeof reportError=="function"?reportError(
e):setTimeout(()=>{throw e})}}var U=o=>o.replaceAll(".","_"),v=class{state="joining";refCount=0;byServer=!1;asked=null;position;error=null;suspended=!1;#e=new f;#i=!1;#t=0;#s;constructor(t,e){
this.name=t,this.#r(),this.group=new k(this,e)}on(t,e,s){return this.#e.on(U(t),e,s)}reopen(){this.state==="closed"&&this.#r(),this.state="joining",this.asked=null,
this.error=null,this.suspended=!1}joined({epoch:t,offset:e,recovered:s}){if(this.asked=null,this.state==="joined"&&s===void 0)return()=>{};let i=s!==!0&&(this.#i||
this.position!==void 0),n=this.position;return this.state="joined",this.error=null,this.#i=!0,this.#t=s?e:0,(!s||!n)&&(this.position=t===void 0?void 0:{epoch:t,
offset:e}),this.#s.resolve(this.group),()=>{if(this.#n("$joined",{recovered:s===!0,position:this.position}),!i)return;let r=n&&n.epoch===t?e-n.offset:void 0;r!==
0&&this.#n("$gap",{reason:"reconnect",possible:r===void 0,lost:r,epoch:t})}}close(t,e=!1){this.state!=="closed"&&(this.state="closed",this.asked=null,this.error=
t,this.suspended=e,this.#s.reject(t),e||this.#n("$left",{reason:t.message,error:t}))}forget(){this.#e.clear()}left(){this.state="closed",this.error=new h("close\
d",`left ${this.name}`),this.#s.reject(this.error)}accept({offset:t,id:e,data:s}){let i={group:this.name,event:s.type,data:s,recovered:!1};if(t===void 0||!this.
position)return{...i,id:e};let{epoch:n,offset:r}=this.position;if(t<=r)return null;if(this.position={epoch:n,offset:t},t>r+1){let c={epoch:n,from:r+1,to:t-1,lost:t-
r-1};this.#n("$gap",{reason:"unannounced",possible:!1,...c})}return{...i,position:this.position,recovered:t<=this.#t}}gap({reason:t,epoch:e,from:s,to:i,lost:n,possible:r=!1}){
e!==void 0&&(this.position={epoch:e,offset:i??0}),this.#n("$gap",{reason:t,possible:r,lost:n,epoch:e,from:s,to:i})}deliver(t){this.state==="joined"&&(this.#n(U(
t.event),t.data,t),this.#n("*",t))}#n(t,...e){this.#e.emit(t,...e)}#r(){this.#s=m(),this.ready=this.#s.promise}};var x=class{#e=new Set;#i;constructor(t=512){this.#i=t}add(t){return this.#e.has(t)?!1:(this.#e.add(t),this.#e.size>this.#i&&this.#e.delete(this.#e.values().next().
value),!0)}};var H=250,T=class{#e;#i;#t=new Map;#s=new Set;#n=new Map;#r=new x;#h=!1;#o=new Set;#a;#c=new l;constructor(t,e){this.#e=t,this.#i=e}all(){return new Map([...this.#t].
map(([t,{group:e}])=>[t,e]))}join(t,{since:e}={}){let s=this.#t.get(t)??this.#u(t);return clearTimeout(this.#n.get(t)),this.#n.delete(t),s.refCount+=1,e&&!s.position&&
(s.position={epoch:e.epoch,offset:e.offset}),s.state==="closed"&&s.reopen(),this.#w(),s.group}leave(t){let e=this.#t.get(t);!e||e.refCount===0||(e.refCount-=1,!(e.
refCount>0)&&(e.forget(),this.#n.set(t,setTimeout(()=>this.#p(t),H))))}since(t){let e={},s=t;for(let{name:i,byServer:n,position:r}of this.#t.values())if(!(!n||!r)){
if(s-=u(JSON.stringify([i,r]))+1,s<0)break;e[i]=r}return e}welcomed(t){let e=new Set(t.map(({group:i})=>i));for(let[i,n]of this.#t)e.has(i)||(n.byServer=!1,n.refCount===
0&&this.#t.delete(i));let s=t.map(i=>this.#l(i));return this.#f(),s}lost(){clearTimeout(this.#a),this.#o.clear(),this.#s.clear();for(let t of[...this.#n.keys()])
this.#p(t);for(let t of this.#t.values())t.asked=null,t.state==="joined"&&t.reopen()}suspend(t){for(let e of this.#t.values())e.close(t,!0)}resume(){for(let t of this.#t.
values())t.suspended&&t.reopen()}changed({type:t,groups:e,reason:s}){for(let i of e)t==="joined"?this.#l(i)():this.#m(i.group,s)}gap(t){let e=this.#t.get(t.group);
e?.state==="joined"&&e.gap(t)}event(t){let{group:e,id:s,data:i}=t;if(s!==void 0&&!this.#r.add(s))return null;if(e===void 0)return{event:i.type,data:i,id:s,recovered:!1};
let n=this.#t.get(e);if(n?.state!=="joined")return null;let r=n.accept(t);return r&&n.deliver(r),r}#u(t){let e=new v(t,this.#e);return this.#t.set(t,e),e}#l({group:t,
error:e,...s}){let i=this.#t.get(t)??this.#u(t);return i.byServer=!e,e?(i.refCount===0&&this.#t.delete(t),()=>e.retry||i.close(h.from(e))):i.joined(s)}#m(t,e){let s=this.#t.
get(t);s&&(s.byServer=!1,s.refCount===0&&this.#t.delete(t),s.close(new h("left",e??"removed by the server")))}#p(t){clearTimeout(this.#n.get(t)),this.#n.delete(
t);let e=this.#t.get(t);!e||e.byServer||((e.state==="joined"||e.asked!==null)&&(this.#s.add(t),this.#w()),this.#t.delete(t),e.left())}#w(){this.#h||(this.#h=!0,
queueMicrotask(()=>{this.#h=!1,this.#f()}))}#f(){if(!this.#i.live())return;for(let s of this.#d([...this.#s].map(i=>({group:i}))))this.#i.ask({type:"leave",groups:s},
()=>{});this.#s.clear();let e=[...this.#t.values()].filter(({state:s,asked:i,refCount:n})=>s==="joining"&&i===null&&n>0).map(({name:s,position:i})=>({group:s,since:i}));
for(let s of this.#d(e))this.#g(s)}#d(t){return z(t,this.#i.maxBytes)}#g(t){let e={};for(let{group:s}of t)this.#t.get(s).asked=e;this.#i.ask({type:"join",groups:t},
s=>{let i=s.type==="error"?s:void 0,n=i?t.map(({group:r})=>({group:r,error:i})):s.groups;for(let r of n)this.#y(r,e)})}#y({group:t,error:e,...s},i){let n=this.#t.
get(t);n?.asked===i&&(e?e.retry?this.#k(t):n.close(h.from(e)):(this.#c.reset(),n.joined(s)()))}#k(t){this.#o.add(t),!(this.#o.size>1)&&(this.#a=setTimeout(()=>{
for(let e of this.#o){let s=this.#t.get(e);s?.state==="joining"&&(s.asked=null)}this.#o.clear(),this.#f()},this.#c.next()))}};var E=class{#e;#i;#t=new Map;#s=0;constructor(t,e){this.#e={maxMessages:128,maxBytes:1024*1024,...t},this.#i=e}get size(){return this.#t.size}request(t,e){let s=this.#i.
nextId(),i=JSON.stringify({...t,id:s}),n=u(i),r=this.#n(n);return r?Promise.reject(r):new Promise((c,d)=>{let S=t.key!==void 0,A={text:i,bytes:n,repeatable:S,sent:!1,
resolve:c,reject:d,timer:void 0};A.timer=setTimeout(()=>this.#r(s),e),this.#t.set(s,A),this.#s+=n,this.flush()})}#n(t){let{maxMessages:e,maxBytes:s}=this.#e,i=this.#i.
maxBytes;if(t>i)return new h("too_large",`${t} bytes; ${i} are allowed`);if(this.#t.size<e&&this.#s+t<=s)return null;let n=`${this.#t.size} requests of ${this.#s}\
 bytes wait already`;return new h("outbox_full",n,!0)}flush(){if(this.#i.live()){for(let t of this.#t.values())if(!t.sent){if(!this.#i.send(t.text))return;t.sent=
!0}}}answered({type:t,id:e,...s}){let i=this.#h(e);return i?(t==="result"?i.resolve(s.data):i.reject(h.from(s)),!0):!1}lost(){for(let[t,e]of this.#t){if(!e.sent||
(e.sent=!1,e.repeatable))continue;let s="the connection was lost before the answer; whether it was done is not known";this.#h(t).reject(new h("disconnected",s))}}close(t){
for(let e of[...this.#t.keys()])this.#h(e).reject(t)}#r(t){let{sent:e,reject:s}=this.#h(t),i=e?new h("timeout","no answer in time; whether it was done is not kn\
own",!0):new h("expired","no connection in time; nothing was sent",!0);s(i)}#h(t){let e=this.#t.get(t);if(e)return this.#t.delete(t),this.#s-=e.bytes,clearTimeout(
e.timer),e}};var O=class{onmessage=null;#e;#i=new f;#t;#s;#n;constructor(t,e={}){this.#e=e.timeout??1e4,this.#t=new b(t,{connectTimeout:1e4,...e},{starting:()=>this.#s.resume(),
since:s=>this.#s.since(s),welcomed:s=>this.#h(s),received:s=>this.#o(s),lost:()=>this.#u(),closed:s=>this.#l(s),emit:(s,i)=>this.#i.emit(s,i)}),this.#s=new T(this,
this.#t),this.#n=new E(e.outbox,this.#t)}get state(){return this.#t.state}get id(){return this.#t.welcome?.connection}get groups(){return this.#s.all()}connect(){
return this.#t.connect()}reconnect(){this.state==="waiting"?this.#t.wake():this.connect()}close(t=1e3){this.#t.close(t)}setToken(t){this.#t.setToken(t)}join(t,e){
let s=this.#s.join(t,e);return this.#t.connectSoon(),s}leave(t){this.#s.leave(t)}send(t,e,{echo:s=!0,key:i=X(),timeout:n}={}){let r=s?void 0:!1;return this.#r({
type:"send",group:t,data:e,echo:r,key:i},n)}call(t,e,{key:s,timeout:i}={}){return this.#r({type:"call",name:t,data:e,key:s},i)}on(t,e,s){return this.#i.on(t,e,s)}#r(t,e=this.#e){
if(this.state==="closed")return Promise.reject(new h("closed","the client is closed"));let s=this.#n.request(t,e);return this.#t.connectSoon(),s}#h(t){let e=this.#s.
welcomed(t);return this.#n.flush(),e}#o(t){switch(t.type){case"event":return this.#c(this.#s.event(t));case"gap":return t.group!==void 0?this.#s.gap(t):this.#a(
t);case"joined":case"left":return t.id===void 0&&this.#s.changed(t);case"result":return this.#n.answered(t);case"error":if(this.#n.answered(t)||t.id!==void 0)return;
this.#i.emit("error",h.from(t))}}#a({reason:t,lost:e,possible:s=!1}){this.#i.emit("gap",{reason:t,lost:e,possible:s})}#c(t){t&&(this.onmessage&&_(this.onmessage,
t),this.#i.emit("event",t))}#u(){this.#s.lost(),this.#n.lost()}#l(t){this.#s.suspend(t),this.#n.close(t)}};function X(){return crypto.randomUUID?.()??`${Date.now()}\
-${Math.random()}-${Math.random()}`}export{O as GroupcastClient,h as GroupcastError,a as UnauthorizedError};
